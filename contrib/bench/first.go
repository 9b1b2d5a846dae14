package main

import (
	"bufio"
	"context"
	"errors"
	"net"
)

// firstName is the first argument that makes this program one that connects, asks for
// /v2/ once, and waits for the answer: a registry that is started by that has to
// be up first.
const firstName = "first"

func firstMain(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("first takes HOST")
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", args[0])
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("HEAD /v2/ HTTP/1.1\r\nHost: " + args[0] + "\r\n\r\n")); err != nil {
		return err
	}
	return headOf(bufio.NewReader(c))
}
