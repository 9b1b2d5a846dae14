package pull

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// flying starts a flight of which nothing has come, and says how to see its end.
func flying(s *flights, name string, size int64) (f *flight, leave func(), ctx context.Context) {
	ctx, cancel := context.WithCancelCause(context.Background())
	f, leave = s.join(flightKey{"team/app", digest.FromString(name)}, func() *flight {
		return newFlight(flightKey{"team/app", digest.FromString(name)}, cancel)
	})
	f.begin(size, nil)
	return f, leave, ctx
}

func TestFlightsThatNobodyWaitsForAreBounded(t *testing.T) {
	t.Parallel()
	s := &flights{}
	var alone []*flight
	for i := range maxAlone {
		f, leave, ctx := flying(s, string(rune('a'+i)), 1)
		leave()
		leave() // once more is harmless
		if ctx.Err() != nil {
			t.Fatalf("flight %d was ended", i)
		}
		alone = append(alone, f)
	}
	one, leave, ctx := flying(s, "one too many", 1)
	leave()
	if !errors.Is(context.Cause(ctx), errAlone) {
		t.Error("one too many goes on")
	}
	s.drop(one)
	_, back := s.join(alone[0].key, nil) // somebody comes back: there is room again
	other, leave, ctx := flying(s, "another", 1)
	leave()
	if ctx.Err() != nil {
		t.Error("there is room, and it was ended")
	}
	back()
	for _, f := range append(alone, other) {
		s.drop(f)
	}
	if s.alone != 0 || len(s.m) != 0 {
		t.Errorf("%d alone, %d in all", s.alone, len(s.m))
	}
}

// A client that comes for a blob whose flight was just ended gets it all the same.
func TestFlightThatIsGivenUpIsJoinedByNobody(t *testing.T) {
	t.Parallel()
	s := &flights{}
	f, leave, ctx := flying(s, "blob", 1)
	leave()
	again, back := s.join(f.key, nil)
	if again != f {
		t.Fatal("it goes on for a while, and was not found")
	}
	s.giveUp(f, f.times) // the timer of before ended a moment ago
	if ctx.Err() != nil {
		t.Error("it was ended, and somebody had come back")
	}
	back()
	s.giveUp(f, f.times)
	if !errors.Is(context.Cause(ctx), errAlone) {
		t.Error("it goes on")
	}
	other, leave, ctx := flying(s, "blob", 1)
	if other == f || ctx.Err() != nil {
		t.Error("who comes now gets the one that was ended")
	}
	s.drop(f)
	leave()
	s.drop(other)
	if s.alone != 0 || len(s.m) != 0 {
		t.Errorf("%d alone, %d in all", s.alone, len(s.m))
	}
}

func TestLargeFlightGoesOnForAMomentOnly(t *testing.T) {
	t.Parallel()
	s := &flights{}
	for size, want := range map[int64]bool{finishSize: true, finishSize + 2: false} {
		f, leave, _ := flying(s, "blob", size)
		leave()
		if f.long != want {
			t.Errorf("with %d bytes left it goes on to its end: %t", size, f.long)
		}
		s.drop(f)
	}
}

// What is done once for many clients is done in no request, whose panics net/http ends.
func TestPanicEndsNoProcess(t *testing.T) {
	t.Parallel()
	u := &upstream{p: &Pull{ctx: t.Context()}}
	_, err := shared(t.Context(), u, "key", func(context.Context) (int, error) { panic("a filter fails") })
	if err == nil || !strings.Contains(err.Error(), "a filter fails") {
		t.Errorf("%v", err)
	}
}
