package lanes

import (
	"os"
	"strings"
	"testing"
)

// Root, the sidecar itself, members of the groups and named users are admitted;
// nobody else is, and user 65534 never.
func TestWhoIsAdmitted(t *testing.T) {
	t.Parallel()
	self := uint32(os.Geteuid())
	c := Config{Users: []uint32{1001, overflow}, Groups: []uint32{900, overflow}}
	for name, tc := range map[string]struct {
		peer peer
		want string
	}{
		"root":                               {peer{uid: 0}, ""},
		"itself":                             {peer{uid: self}, ""},
		"a named user":                       {peer{uid: 1001}, ""},
		"a member":                           {peer{uid: 1002, groups: []uint32{4, 900}}, ""},
		"a stranger":                         {peer{uid: 1003, groups: []uint32{4, 901}}, "user 1003 may not"},
		"a stranger of no group":             {peer{uid: 1003}, "user 1003 may not"},
		"a stranger of root's group":         {peer{uid: 1003, groups: []uint32{0}}, "user 1003 may not"},
		"another user namespace":             {peer{uid: overflow, groups: []uint32{900}}, "user namespace"},
		"a group of another user namespace":  {peer{uid: 1003, groups: []uint32{overflow}}, "user 1003 may not"},
		"nobody, although he is in settings": {peer{uid: overflow}, "user namespace"},
	} {
		switch err := c.admit(tc.peer); {
		case err == nil && tc.want != "":
			t.Errorf("%s is admitted", name)
		case err != nil && (tc.want == "" || !strings.Contains(err.Message, tc.want)):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Connections of one user, and of all, are bounded, and come back.
func TestGuestsAreCounted(t *testing.T) {
	t.Parallel()
	g := newGuests()
	var leave []func()
	for uid := range uint32(mostOfAll / mostOfOne) {
		for range mostOfOne {
			l, refusal := g.enter(uid)
			if refusal != nil {
				t.Fatal(refusal)
			}
			leave = append(leave, l)
		}
	}
	if _, refusal := g.enter(1); refusal == nil || !strings.Contains(refusal.Message, "one user") {
		t.Errorf("%v", refusal)
	}
	if _, refusal := g.enter(9999); refusal == nil || !strings.Contains(refusal.Message, "512 connections") {
		t.Errorf("%v", refusal)
	}
	for _, l := range leave {
		l()
	}
	if len(g.by) != 0 || g.all != 0 {
		t.Errorf("%+v are left", g)
	}
}
