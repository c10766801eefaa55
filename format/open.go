package format

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"whit/tensor"
	"whit/weight"
)

// ErrNoTensor means that a file has no constant or array of a name.
var ErrNoTensor = errors.New("no such tensor")

// Index is a file whose constants, or arrays, are read one by one: what it says of them
// is in memory, their data are not. It is safe for concurrent use.
type Index struct {
	c     *container
	opt   ReadOptions
	list  []Entry
	gs    []group
	where map[string]spot

	mu   sync.Mutex
	held int     // the group whose items are kept, the latest; -1: none
	kept []*item // a group is some small constants, or a large one
	err  error   // of decoding it
}

// Entry is a constant of a file.
type Entry struct {
	Name string
	Type tensor.Type // of its elements, dense
	// Bytes is what must be read of the file for it: its own, and those of small
	// constants that are coded with it.
	Bytes int64
}

type spot struct{ group, item int }

// Open reads what a file of size bytes, a model or arrays, says of its constants. Of the
// data it reads nothing, but for files in the small form, which are read whole. At most one
// ReadOptions is heeded; MaxBytes bounds what is decoded at a time. Errors are as Read's.
// The checksum of the whole file is not checked, those of the chunks are, as they are read.
func Open(r io.ReaderAt, size int64, o ...ReadOptions) (*Index, error) {
	c, err := openContainer(r, size)
	if err != nil {
		return nil, err
	}
	if !c.small {
		for i := range c.chunks {
			k := &c.chunks[i]
			switch k.typ {
			case chunkGraph, chunkNames, chunkCard, chunkMeta, chunkReceipt, chunkChoices, chunkArrays:
				if _, err := k.load(r, 0); err != nil {
					return nil, err
				}
			}
		}
	}
	x := &Index{c: c, opt: readOptions(o), held: -1, where: map[string]spot{}}
	var places []place
	var names []string
	if slices.ContainsFunc(c.chunks, func(k chunk) bool { return k.typ == chunkArrays }) {
		arrays, of, gs, err := readArrays(c)
		if err != nil {
			return nil, err
		}
		for _, a := range arrays {
			names = append(names, a.Name)
		}
		places, x.gs = of, gs
	} else {
		m, err := readModel(c)
		if err != nil {
			return nil, err
		}
		places, x.gs = m.g.places, m.gs
		for _, p := range places {
			names = append(names, p.name())
		}
	}
	n := 0
	for g, group := range x.gs {
		for i := range group.places {
			d := places[n].d
			e := Entry{Name: names[n], Type: tensor.Type{DType: d.element(), Shape: d.shape}, Bytes: group.c.size()}
			x.list = append(x.list, e)
			if _, twice := x.where[e.Name]; !twice {
				x.where[e.Name] = spot{g, i}
			}
			n++
		}
	}
	return x, nil
}

// element is the type of the constant's elements.
func (d *desc) element() tensor.DType {
	if d.dtype != tensor.Invalid {
		return d.dtype
	}
	return tensor.Float32
}

// List names the constants, in the order of the file.
func (x *Index) List() []Entry { return x.list }

// Tensor reads a constant, dense.
func (x *Index) Tensor(name string) (*tensor.Tensor, error) {
	w, t, err := x.Constant(name)
	if w != nil {
		return w.Dense(), nil
	}
	return t, err
}

// Constant reads a constant: a weight, or where it is none its elements. It reads and
// decodes the constant's chunk and no other; the streams of a large one are decoded side
// by side. What it returns must not be written.
func (x *Index) Constant(name string) (weight.Weight, *tensor.Tensor, error) {
	at, ok := x.where[name]
	if !ok {
		return nil, nil, fmt.Errorf("%w: %q", ErrNoTensor, name)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.held != at.group {
		x.held = at.group
		x.kept, x.err = x.read(at.group)
	}
	if x.err != nil {
		if !errors.Is(x.err, ErrCorrupt) {
			x.held = -1 // reading may work another time
		}
		return nil, nil, x.err
	}
	it := x.kept[at.item]
	return it.w, it.t, nil
}

// read decodes a group.
func (x *Index) read(k int) ([]*item, error) {
	g := x.gs[k]
	if g.c.payload == nil {
		if _, err := g.c.load(x.c.r, 0); err != nil {
			return nil, err
		}
		var err error
		if g, err = x.c.dataChunk(g.c, g.places); err != nil {
			return nil, err
		}
	}
	return decodeAll(g.places, []group{g}, x.opt)
}
