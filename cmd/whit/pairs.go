package main

import (
	"bufio"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"whit/compress/method"
	"whit/data"
)

// What a list of pairs may hold.
const (
	maxPairsBytes = 256 << 20
	maxPairs      = 10_000_000
)

// listed is a dataset with pairs of its samples.
type listed struct {
	data.Dataset
	pairs []method.Pair
}

func (l listed) Unwrap() any          { return l.Dataset }
func (l listed) Pairs() []method.Pair { return l.pairs }

// readPairs reads lines of NAME,NAME,1 (one identity) or 0 (two); names are the samples'.
func readPairs(name string, set data.Dataset) (data.Dataset, error) {
	n, ok := data.NamedOf(set)
	if !ok {
		return nil, usage("--pairs: the samples of these data have no names")
	}
	f, size, err := openSized(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	base := filepath.Base(name)
	if size > maxPairsBytes {
		return nil, fmt.Errorf("%s: %d bytes, at most %d expected", base, size, maxPairsBytes)
	}
	at := map[string]int{}
	for i := range set.Len() {
		at[n.Name(i)] = i
	}
	ps, err := parsePairs(f, at)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", base, err)
	}
	return listed{set, ps}, nil
}

// parsePairs reads the lines; at are the samples by name.
func parsePairs(r io.Reader, at map[string]int) (out []method.Pair, err error) {
	sc := bufio.NewScanner(r)
	for line := 1; sc.Scan(); line++ {
		text := strings.TrimSpace(sc.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		p := strings.Split(text, ",")
		if len(p) != 3 {
			return nil, fmt.Errorf("line %d: want NAME,NAME,1 or 0, found %d fields", line, len(p))
		}
		for k := range p {
			p[k] = strings.TrimSpace(p[k])
		}
		a, okA := at[p[0]]
		b, okB := at[p[1]]
		switch {
		case !okA:
			return nil, fmt.Errorf("line %d: the data have no %q", line, p[0])
		case !okB:
			return nil, fmt.Errorf("line %d: the data have no %q", line, p[1])
		case p[2] != "0" && p[2] != "1":
			return nil, fmt.Errorf("line %d: want 1 or 0, found %q", line, p[2])
		case len(out) == maxPairs:
			return nil, fmt.Errorf("more than %d pairs", maxPairs)
		}
		out = append(out, method.Pair{A: a, B: b, Same: p[2] == "1"})
	}
	return out, sc.Err()
}
