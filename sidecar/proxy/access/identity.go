package access

import (
	"context"
	"log/slog"
	"net/netip"
	"strconv"
)

// An Identity is who makes a request.
type Identity struct {
	// User is the name that was logged in with; "" for nobody. Who knew the secret of the
	// installation instead has Secret.
	User   string
	Secret bool
	// UID is the owner of the client's end of the connection, where Owned says that
	// it is known: with Config.Peers only.
	UID   uint32
	Owned bool
	// From is the client's address.
	From netip.AddrPort

	demanded bool // a login or the secret is what it takes to write
}

type identityKey struct{}

// From is who makes the request of a context; the zero value where no Guard has
// seen it.
func From(ctx context.Context) Identity {
	i, _ := ctx.Value(identityKey{}).(Identity)
	return i
}

// Known says whether he has logged in or knows the secret.
func (i Identity) Known() bool { return i.User != "" || i.Secret }

// MayPush says whether he may push and delete.
func (i Identity) MayPush() bool { return i.Known() || !i.demanded }

// MayUseCredentials says whether the proxy may show its own credentials to an upstream, or
// downstream, on his behalf.
func (i Identity) MayUseCredentials() bool { return i.Known() || !i.demanded }

// Who is a word for logs.
func (i Identity) Who() string {
	switch {
	case i.User != "":
		return i.User
	case i.Secret:
		return "(secret)"
	case i.Owned:
		return "uid " + strconv.FormatUint(uint64(i.UID), 10)
	default:
		return "(anybody)"
	}
}

// LogValue is what logs have of an identity.
func (i Identity) LogValue() slog.Value {
	return slog.GroupValue(slog.String("who", i.Who()), slog.String("from", i.From.String()))
}
