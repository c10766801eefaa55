package whit

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"sync"

	"whit/card"
	"whit/format"
	"whit/graph"
	"whit/internal/modelfile"
	"whit/kernel"
	"whit/onnx"
	"whit/op"
	"whit/plan"
	"whit/tensor"
)

// The errors that callers tell apart, with errors.Is.
var (
	// ErrUnsupported: the model has an operator, type or attribute that whit cannot run.
	ErrUnsupported = op.ErrUnsupported
	// ErrCorrupt: the file is damaged or not a model.
	ErrCorrupt = errors.New("corrupt")
	// ErrTooLarge: the model or a binding of its shapes is beyond Options.MaxMemory.
	ErrTooLarge = plan.ErrTooLarge
	// ErrInput: an input is missing, unknown, or has the wrong type or shape.
	ErrInput = errors.New("invalid input")
	// ErrClosed: the model has been closed.
	ErrClosed = errors.New("model is closed")
)

// Options say how a model is opened. The zero value is the default.
type Options struct {
	Threads   int   // workers; 0: the physical cores. Results do not depend on it.
	MaxMemory int64 // bytes that a binding of shapes may need; 0: 4 GiB; beyond it ErrTooLarge
	MaxPlans  int   // bindings of shapes that are kept; 0: 8
	// Direct turns off algorithms that round otherwise than a direct convolution does,
	// and that hold weights in a larger form: Winograd's.
	Direct bool
}

// Dim is a declared dimension: Size elements, or -1 where it is symbolic, with
// the name that the model gives it.
type Dim = graph.Dim

// Port is an input or output of a model. Type.Shape is empty where a dimension is
// symbolic: Dims has the declaration.
type Port struct {
	Name string
	Type tensor.Type
	Dims []Dim
}

// Tensors are inputs or outputs by name.
type Tensors map[string]*tensor.Tensor

// Model is an opened network: immutable, safe for concurrent use.
type Model struct {
	prog    *plan.Program
	card    card.Card
	in, out []Port

	mu     sync.Mutex
	runs   sync.WaitGroup
	closed bool
	free   map[*plan.Plan][]*plan.Session
}

// Open reads a .whit or .onnx file, told apart by its content, with the model card
// in it or beside it. Choices of kernels that a .whit holds are replayed. Large weights of an ONNX model, and of a .whit
// that is written to be loaded fast, are read when they are first needed: the
// file must not be changed in place while the model is in use, though it may be
// replaced or removed. Where it is, or where what is read then is damaged, runs give an error.
func Open(path string, opt Options) (*Model, error) {
	f, err := modelfile.Open(path, "")
	if err != nil {
		return nil, corrupt(err)
	}
	m, err := newModel(f, opt)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Base, err)
	}
	return m, nil
}

// Read is Open for a model in memory (go:embed) or behind any ReaderAt. External
// data files of an ONNX model are refused.
func Read(r io.ReaderAt, size int64, opt Options) (*Model, error) {
	f, err := modelfile.Read(r, size)
	if err != nil {
		return nil, corrupt(err)
	}
	return newModel(f, opt)
}

// corrupt marks errors of the readers, but for those that say something else.
func corrupt(err error) error {
	for _, e := range []error{onnx.ErrCorrupt, format.ErrCorrupt, card.ErrCorrupt} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	if errors.Is(err, onnx.ErrTooLarge) || errors.Is(err, format.ErrTooLarge) {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	if errors.Is(err, onnx.ErrUnsupported) || errors.Is(err, format.ErrVersion) {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return err
}

func newModel(f *modelfile.File, opt Options) (*Model, error) {
	o := plan.Options{Threads: opt.Threads, MaxMemory: opt.MaxMemory, MaxPlans: opt.MaxPlans, Direct: opt.Direct}
	if f.Choices != nil {
		var err error
		if o.Choices, err = kernel.ParseChoices(f.Choices); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	p, err := plan.NewProgram(f.Graph, o)
	if err != nil {
		return nil, err
	}
	var c card.Card
	if f.Card != nil {
		c = *f.Card
	}
	m := &Model{prog: p, card: c, free: map[*plan.Plan][]*plan.Session{}}
	for _, v := range p.Inputs() {
		m.in = append(m.in, port(v))
	}
	for _, v := range p.Outputs() {
		m.out = append(m.out, port(v))
	}
	return m, nil
}

func port(v *graph.Value) Port {
	p := Port{Name: v.Name, Dims: v.Decl.Dims, Type: tensor.Type{DType: v.Decl.DType}}
	if v.Bound() {
		p.Type = v.Type
	}
	for _, d := range v.Decl.Dims {
		if d.Size < 0 {
			p.Type.Shape = nil
			break
		}
		p.Type.Shape = append(p.Type.Shape, d.Size)
	}
	return p
}

// Inputs are the model's inputs.
func (m *Model) Inputs() []Port { return m.in }

// Outputs are the model's outputs.
func (m *Model) Outputs() []Port { return m.out }

// Card is the model card; its zero value where the file has none.
func (m *Model) Card() card.Card { return m.card }

// Preprocess turns a picture into the model's input as its card says and writes
// it into dst, float32: one sample, [1,C,H,W] or [C,H,W]. Errors are card.ErrMissing,
// with the fields that the card does not give, card.ErrConflict where dst has another
// shape than the card makes, and card.ErrTooLarge. Safe for concurrent use.
func (m *Model) Preprocess(dst *tensor.Tensor, img image.Image) error {
	return m.card.Preprocess(dst, img)
}

// enter counts a run; leave ends it.
func (m *Model) enter() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.runs.Add(1)
	return nil
}

// Close waits for the runs under way. Later calls of Run give ErrClosed.
func (m *Model) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.runs.Wait()
	m.mu.Lock()
	m.free = nil
	m.mu.Unlock()
	return nil
}

// Run computes all outputs. The inputs are read, not kept; the caller owns the
// results. Safe for concurrent use. ctx is checked between nodes. Errors are ErrInput,
// ErrTooLarge, ErrUnsupported (a shape or type that no operator takes), ErrClosed and
// those of ctx.
func (m *Model) Run(ctx context.Context, in Tensors) (Tensors, error) {
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.runs.Done()
	types := map[string]tensor.Type{}
	for _, p := range m.in {
		t := in[p.Name]
		if t == nil {
			return nil, fmt.Errorf("%w: %q is missing", ErrInput, p.Name)
		}
		types[p.Name] = t.Type
	}
	if len(in) != len(types) {
		for name := range in {
			if _, ok := types[name]; !ok {
				return nil, fmt.Errorf("%w: the model has no input %q", ErrInput, name)
			}
		}
	}
	s, err := m.session(types)
	if err != nil {
		return nil, corrupt(err)
	}
	for name, t := range in {
		copy(s.Input(name).Bytes(), t.Bytes())
	}
	if err := s.Run(ctx); err != nil {
		return nil, corrupt(err)
	}
	out := Tensors{}
	for _, p := range m.out {
		out[p.Name] = s.Output(p.Name).Clone()
	}
	m.mu.Lock()
	if m.free != nil && len(m.free[s.Plan()]) < 4 {
		m.free[s.Plan()] = append(m.free[s.Plan()], s)
	}
	m.mu.Unlock()
	return out, nil
}

// RunBatch runs several inputs, one after the other: results[i] belongs to in[i]. The
// first error ends it. Inputs of one shape run faster as one tensor, where the batch
// is symbolic.
func (m *Model) RunBatch(ctx context.Context, in []Tensors) ([]Tensors, error) {
	out := make([]Tensors, len(in))
	for i, x := range in {
		var err error
		if out[i], err = m.Run(ctx, x); err != nil {
			return nil, fmt.Errorf("batch element %d: %w", i, err)
		}
	}
	return out, nil
}

// session is a free session for those types, or a new one.
func (m *Model) session(types map[string]tensor.Type) (*plan.Session, error) {
	pl, err := m.prog.Plan(types)
	if err != nil {
		if !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrTooLarge) {
			err = fmt.Errorf("%w: %w", ErrInput, err)
		}
		return nil, err
	}
	m.mu.Lock()
	if l := m.free[pl]; len(l) > 0 {
		s := l[len(l)-1]
		m.free[pl] = l[:len(l)-1]
		m.mu.Unlock()
		return s, nil
	}
	m.mu.Unlock()
	return pl.NewSession()
}

// Session is a model's memory for one goroutine.
type Session struct {
	m     *Model
	types map[string]tensor.Type
	s     *plan.Session
	held  map[string]*tensor.Tensor // inputs given before all shapes were known
}

// NewSession makes a session. Symbolic batch dimensions (the first) are 1 until
// Input says otherwise.
func (m *Model) NewSession() *Session {
	s := &Session{m: m, types: map[string]tensor.Type{}, held: map[string]*tensor.Tensor{}}
	for _, p := range m.in {
		if t, ok := p.Default(); ok {
			s.types[p.Name] = t
		}
	}
	return s
}

// Default is the port's type with a symbolic first dimension as 1; false where
// another dimension is symbolic or the rank unknown.
func (p Port) Default() (tensor.Type, bool) {
	t := tensor.Type{DType: p.Type.DType, Shape: tensor.Shape{}}
	for i, d := range p.Dims {
		switch {
		case d.Size >= 0:
			t.Shape = append(t.Shape, d.Size)
		case i == 0:
			t.Shape = append(t.Shape, 1)
		default:
			return t, false
		}
	}
	return t, p.Dims != nil || p.Type.Shape != nil
}

// Input is the memory of an input, to be filled before Run; its contents stay as
// they are over runs. dims sets its shape; without dims it is what it was, at
// first the declared one with a symbolic batch of 1. A new shape makes a new
// binding, and what Input and Output gave before is no longer valid.
func (s *Session) Input(name string, dims ...int) (*tensor.Tensor, error) {
	var p *Port
	for i := range s.m.in {
		if s.m.in[i].Name == name {
			p = &s.m.in[i]
		}
	}
	if p == nil {
		return nil, fmt.Errorf("%w: the model has no input %q", ErrInput, name)
	}
	t, ok := s.types[name]
	if len(dims) > 0 {
		want := tensor.Type{DType: p.Type.DType, Shape: tensor.Shape(dims).Clone()}
		if !ok || !want.Equal(t) {
			if err := want.Shape.Check(); err != nil {
				return nil, fmt.Errorf("%w: %q: %w", ErrInput, name, err)
			}
			if s.s != nil { // keep what the other inputs hold
				for other := range s.types {
					if x := s.s.Input(other); x != nil && other != name {
						s.held[other] = x
					}
				}
			}
			s.types[name], s.s, ok = want, nil, true
			delete(s.held, name)
		}
	}
	if !ok {
		return nil, fmt.Errorf("%w: %q has symbolic dimensions: give its shape", ErrInput, name)
	}
	if s.s == nil && len(s.types) == len(s.m.in) {
		if err := s.bind(); err != nil {
			return nil, err
		}
	}
	if s.s != nil {
		return s.s.Input(name), nil
	}
	if s.held[name] == nil {
		s.held[name] = tensor.New(s.types[name].DType, s.types[name].Shape...)
	}
	return s.held[name], nil
}

func (s *Session) bind() error {
	ps, err := s.m.session(s.types)
	if err != nil {
		return err
	}
	for name, t := range s.held {
		copy(ps.Input(name).Bytes(), t.Bytes())
		delete(s.held, name)
	}
	s.s = ps
	return nil
}

// Run computes the outputs, with the errors of Model.Run. ctx is checked between nodes.
func (s *Session) Run(ctx context.Context) error {
	if err := s.m.enter(); err != nil {
		return err
	}
	defer s.m.runs.Done()
	if s.s == nil {
		if len(s.types) != len(s.m.in) {
			return fmt.Errorf("%w: not every input has been given", ErrInput)
		}
		if err := s.bind(); err != nil {
			return err
		}
	}
	return s.s.Run(ctx)
}

// Output is an output's memory, valid until the next Run.
func (s *Session) Output(name string) (*tensor.Tensor, error) {
	if s.s != nil {
		if t := s.s.Output(name); t != nil {
			return t, nil
		}
	}
	return nil, fmt.Errorf("%w: the model has no output %q, or has not been run", ErrInput, name)
}
