package train

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"whit/graph"
	"whit/internal/safefile"
	"whit/tensor"
)

// ErrCheckpoint is the root of errors about checkpoint files.
var ErrCheckpoint = errors.New("invalid checkpoint")

// Snapshot is a copy of everything that training has changed so far.
type Snapshot struct {
	Epoch int // finished epochs
	Step  int // finished steps of the current one
	sum   sums
	id    [32]byte
	vars  map[string]*tensor.Tensor
}

// Snapshot copies the state: params, running statistics, optimiser moments,
// averages and position.
func (t *Trainer) Snapshot() *Snapshot {
	s := &Snapshot{Epoch: t.epoch, Step: t.step, sum: t.sum, id: t.id, vars: map[string]*tensor.Tensor{}}
	for _, name := range t.varNames() {
		s.vars[name] = t.Var(name).Clone()
	}
	return s
}

// Restore goes back to a snapshot of a trainer of the same model, data and
// options: training goes on from there as it did then. The snapshot stays usable.
func (t *Trainer) Restore(s *Snapshot) error {
	if s.id != t.id {
		return fmt.Errorf("%w: it belongs to another model, dataset, seed or options", ErrCheckpoint)
	}
	names := t.varNames()
	if len(names) != len(s.vars) || s.Epoch < 0 || s.Epoch > t.opt.Epochs || s.Step < 0 || s.Step >= t.data.steps {
		return fmt.Errorf("%w: %d variables at epoch %d, step %d", ErrCheckpoint, len(s.vars), s.Epoch, s.Step)
	}
	for _, name := range names {
		if v := s.vars[name]; v == nil || !v.Type.Equal(t.Var(name).Type) {
			return fmt.Errorf("%w: variable %q", ErrCheckpoint, name)
		}
	}
	for _, name := range names {
		copy(t.Var(name).Bytes(), s.vars[name].Bytes())
	}
	t.epoch, t.step, t.sum = s.Epoch, s.Step, s.sum
	return nil
}

// Adopt takes the variables of another trainer's snapshot whose names and types
// are the same, the optimiser's moments included, but not its position. It returns
// how many there were. It carries moments from one phase of a recipe to the next.
func (t *Trainer) Adopt(s *Snapshot) int {
	n := 0
	for _, name := range t.varNames() {
		if v := s.vars[name]; v != nil && v.Type.Equal(t.Var(name).Type) {
			copy(t.Var(name).Bytes(), v.Bytes())
			n++
		}
	}
	return n
}

// Var is the snapshot's copy of a variable, nil if there is none. It must not be changed.
func (s *Snapshot) Var(name string) *tensor.Tensor { return s.vars[name] }

func (t *Trainer) varNames() []string {
	var names []string
	for _, v := range t.built.g.Values() {
		if (v.Kind == graph.Param || v.Kind == graph.State) && t.prog.Var(v.Name) != nil {
			names = append(names, v.Name)
		}
	}
	for name := range t.kept {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// identity is what a checkpoint must share with the trainer that reads it: the
// model with its initial values, the dataset (its size, and the hashes of up to 64
// samples), and the options that decide the result.
func identity(g *graph.Graph, ds Dataset, o *Options) (id [32]byte, err error) {
	h := sha256.New()
	fmt.Fprintf(h, "whit training 1\n%s", g)
	for _, v := range g.Values() {
		if v.Data != nil {
			fmt.Fprintf(h, "%q %v\n", v.Name, v.Type)
			h.Write(v.Data.Bytes())
		}
	}
	hashModels(h, o.Aims())
	j, err := json.Marshal(o)
	if err != nil {
		return id, err
	}
	fmt.Fprintf(h, "%s\n", j)
	hashData(h, ds)
	h.Sum(id[:0])
	return id, nil
}

// hashModels hashes models that are aimed at.
func hashModels(h io.Writer, models []*graph.Graph) {
	for _, m := range models {
		fmt.Fprintf(h, "teacher\n%s", m)
		for _, v := range m.Values() {
			if x := v.Tensor(); x != nil {
				fmt.Fprintf(h, "%q %v\n", v.Name, v.Type)
				h.Write(x.Bytes())
			}
		}
	}
}

// hashData hashes a dataset by some of its samples.
func hashData(h io.Writer, ds Dataset) {
	fmt.Fprintf(h, "%d %v\n", ds.Len(), ds.Shape())
	for k := range min(64, ds.Len()) {
		s := ds.Hash(k * ds.Len() / min(64, ds.Len()))
		h.Write(s[:])
	}
}

// A checkpoint file: magic, the length of the header (uint32, little-endian), the
// header (JSON), the variables' bytes in the header's order, and the SHA-256 of all
// that.
const (
	ckMagic  = "whit-ck1"
	ckHeader = 16 << 20 // bytes, at most
)

type ckHead struct {
	Epoch int      `json:"epoch"`
	Step  int      `json:"step"`
	Sum   sums     `json:"sum"`
	ID    []byte   `json:"id"`
	Vars  []ckVars `json:"vars"`
}

type ckVars struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
}

// Save writes the state to the file, whole or not at all.
func (t *Trainer) Save(path string) error {
	if err := safefile.Write(path, t.Snapshot().write); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// Load continues from a file that Save wrote.
func (t *Trainer) Load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	s, err := readSnapshot(bufio.NewReaderSize(f, 1<<18), st.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := t.Restore(s); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (s *Snapshot) write(w io.Writer) error {
	head := ckHead{Epoch: s.Epoch, Step: s.Step, Sum: s.sum, ID: s.id[:]}
	names := slices.Sorted(maps.Keys(s.vars))
	for _, name := range names {
		v := s.vars[name]
		head.Vars = append(head.Vars, ckVars{name, v.DType.String(), append([]int{}, v.Shape...)})
	}
	j, err := json.Marshal(head)
	if err != nil {
		return err
	}
	if len(j) > ckHeader {
		return fmt.Errorf("a header of %d bytes, the limit is %d", len(j), ckHeader)
	}
	h := sha256.New()
	out := io.MultiWriter(w, h)
	b := binary.LittleEndian.AppendUint32([]byte(ckMagic), uint32(len(j)))
	if _, err := out.Write(append(b, j...)); err != nil {
		return err
	}
	for _, name := range names {
		if _, err := out.Write(s.vars[name].Bytes()); err != nil {
			return err
		}
	}
	_, err = w.Write(h.Sum(nil))
	return err
}

// readSnapshot reads a checkpoint of size bytes. It allocates no more than a few
// times what it has been shown to be there.
func readSnapshot(r io.Reader, size int64) (*Snapshot, error) {
	bad := func(format string, args ...any) (*Snapshot, error) {
		return nil, fmt.Errorf("%w: %s", ErrCheckpoint, fmt.Sprintf(format, args...))
	}
	const fixed = int64(len(ckMagic) + 4 + sha256.Size)
	if size < fixed {
		return bad("%d bytes", size)
	}
	h := sha256.New()
	in := io.TeeReader(r, h)
	var b [len(ckMagic) + 4]byte
	if _, err := io.ReadFull(in, b[:]); err != nil {
		return bad("%v", err)
	}
	if string(b[:len(ckMagic)]) != ckMagic {
		return bad("not a checkpoint of this version")
	}
	left := size - fixed
	n := int64(binary.LittleEndian.Uint32(b[len(ckMagic):]))
	if n > left || n > ckHeader {
		return bad("a header of %d bytes in a file of %d", n, size)
	}
	left -= n
	j := make([]byte, n)
	if _, err := io.ReadFull(in, j); err != nil {
		return bad("%v", err)
	}
	var head ckHead
	d := json.NewDecoder(bytes.NewReader(j))
	d.DisallowUnknownFields()
	if err := d.Decode(&head); err != nil {
		return bad("header: %v", err)
	}
	s := &Snapshot{Epoch: head.Epoch, Step: head.Step, sum: head.Sum, vars: map[string]*tensor.Tensor{}}
	if copy(s.id[:], head.ID) != len(s.id) || len(head.ID) != len(s.id) {
		return bad("identity of %d bytes", len(head.ID))
	}
	for _, v := range head.Vars {
		dt, ok := tensor.ParseDType(v.DType)
		if !ok || tensor.Shape(v.Shape).Check() != nil || s.vars[v.Name] != nil {
			return bad("variable %q", v.Name)
		}
		need := int64((tensor.Type{DType: dt, Shape: v.Shape}).NumBytes())
		if need > left {
			return bad("variable %q needs %d bytes, %d are left", v.Name, need, left)
		}
		left -= need
		t := tensor.New(dt, v.Shape...)
		if _, err := io.ReadFull(in, t.Bytes()); err != nil {
			return bad("variable %q: %v", v.Name, err)
		}
		s.vars[v.Name] = t
	}
	if left != 0 {
		return bad("%d bytes too many", left)
	}
	var sum [sha256.Size]byte
	want := h.Sum(nil)
	if _, err := io.ReadFull(r, sum[:]); err != nil || !bytes.Equal(sum[:], want) {
		return bad("the checksum is wrong")
	}
	return s, nil
}
