package check

// register adds what a layer has at its places, and what it deletes.
func (t *tree) register(i int, l *layer) {
	now := uint32(i + 1)
	l.roll.each(func(n int, it item) {
		h := t.hash(it.name)
		switch it.kind { //nolint:exhaustive // the others go on below
		case gone:
			t.gone[h] = now
			return
		case opaque:
			t.opaque[h] = now
			return
		case hardlink:
			t.link(i, it)
		}
		s, again := t.seen[h]
		if again {
			t.again(i, it, h, s)
		}
		if it.kind == file && s.regular {
			t.dups.add(h, it.name, s.last, now, s.twice)
			s.twice = true
		}
		least := it.size
		if t.gone[h] > now {
			least = 0
		}
		if !again || least < s.least {
			t.waste.least += least - s.least
			s.least = least
		}
		s.last, s.kind = now, it.kind
		s.regular = s.regular || it.kind == file
		s.visible = s.visible || t.visible[n/64]&(1<<(n%64)) != 0
		if !it.kind.isDir() {
			s.block = now
		}
		t.seen[h] = s
	})
}

// again looks at a place that this layer, or one above, has already.
func (t *tree) again(i int, it item, h uint64, s seen) {
	if it.kind.isDir() == s.kind.isDir() {
		return
	}
	if s.last == uint32(i+1) {
		t.tell(i, "type-conflict", Error, string(it.name), "is a directory and something else")
		return
	}
	if t.gone[h] == 0 { // what was deleted may come back as anything
		t.tell(i, "type-conflict", Warning, string(it.name), "is %s here and %s in layer %d", it.kind, s.kind, s.last-1)
	}
}

func (k kind) String() string {
	switch k { //nolint:exhaustive // what stands at no place has no name
	case dir:
		return "a directory"
	case file:
		return "a file"
	case hardlink:
		return "a hard link"
	}
	return "a link or device"
}

// maxImplied is how many directories without an entry are remembered; most
// builders write all entries.
const maxImplied = 200_000

// settle finds entries below what is no directory, once all places of the layer
// are known, and directories that the layer has by their content only.
func (t *tree) settle(i int, l *layer) {
	now := uint32(i + 1)
	blocked := func(h uint64, dir []byte, above hiding) hiding {
		s := t.seen[h]
		switch {
		case len(dir) == 0:
			return hiding{}
		case s.last == now && s.block == now:
			return hiding{now, string(dir)}
		case s.last == now:
			return hiding{}
		case len(t.implied) < maxImplied:
			t.implied[h] = now
		}
		return above
	}
	t.parents.forget()
	l.roll.each(func(_ int, it item) {
		if p := t.parents.of(it.name, blocked); p.by > 0 {
			t.tell(i, "type-conflict", Error, string(it.name), "lies below %s, which is no directory", quote(p.how))
		}
	})
	t.settleLinks(i)
}

// underImplied finds what is no directory and has entries of a higher layer
// below it.
func (t *tree) underImplied(i int, it item, h uint64) {
	above, ok := t.implied[h]
	switch {
	case !ok:
	case it.kind.isDir():
		delete(t.implied, h)
	case t.gone[h] == 0:
		t.tell(i, "type-conflict", Warning, string(it.name), "is %s, and layer %d has entries below it", it.kind, above-1)
	}
}
