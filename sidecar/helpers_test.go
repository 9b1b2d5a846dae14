package sidecar

import (
	"log/slog"

	"github.com/occystrap/occystrap/sidecar/lanes"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func lanesServer(p *program) *lanes.Server {
	return lanes.New(lanes.Config{Program: p.version, Log: p.log})
}
