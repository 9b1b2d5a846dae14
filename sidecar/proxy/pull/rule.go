package pull

import (
	"fmt"

	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// A rule is what happens to the images of one repository.
type rule struct {
	*rules.Rule
	// made has what its filters made; nil where images go through as they are.
	made Space
	// judges: some of the filters look at images that must stay as they are.
	judges bool
}

// rule is the one for a repository.
func (u *upstream) rule(repository string) (*rule, error) {
	if r, ok := u.rules.Get(repository); ok {
		return r, nil
	}
	r := &rule{}
	if f := u.p.c.Rule; f != nil {
		r.Rule = f(u.Host, repository)
	}
	if r.Rule != nil && !r.Plain() {
		judges, err := r.Judges()
		if err != nil {
			return nil, fmt.Errorf("filters for %s/%s: %w", u.Host, repository, err)
		}
		r.judges = len(judges) > 0
		r.made = u.p.c.Space("made/" + u.name + "/" + r.Key())
	}
	u.rules.Add(repository, r)
	return r, nil
}
