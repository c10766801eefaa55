package optest

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"whit/internal/cpu"
	"whit/op"
	"whit/plan"
	"whit/tensor"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestIntegersAgreeOnEveryCPU holds the bytes that integer cases give, by reference
// and by plan: they are identical on every CPU, so that what one processor wrote
// into the golden file every other must reproduce. Inputs that are not constants
// are filled anew, over the whole range of their type where the case allows it.
func TestIntegersAgreeOnEveryCPU(t *testing.T) {
	var b strings.Builder
	b.WriteString("# SHA-256 of the outputs of the integer cases, the same on every CPU; refreshed by -update.\n")
	for _, c := range All() {
		if c.Err || c.Outs < 0 || !integers(free(&c)) {
			continue
		}
		g, feeds := c.Build()
		want, err := Eval(g, feeds)
		if err != nil || !integers(want) {
			continue
		}
		fmt.Fprintf(&b, "%s\t%s\n", c.Name, digest(want))
		if got := planned(t, &c); got != nil && digest(got) != digest(want) {
			t.Errorf("%s: the plan's integers differ from the reference's", c.Name)
		}
		wide := c
		wide.In = slices.Clone(c.In)
		for i, x := range c.In {
			if x != nil && !slices.Contains(c.ConstIn, i) && x.Len() > 0 {
				wide.In[i] = anything(uint64(i)+1, x)
			}
		}
		g, feeds = wide.Build()
		if want, err = Eval(g, feeds); err != nil || !integers(want) {
			continue // this input is not free: a divisor, an index, a shape
		}
		fmt.Fprintf(&b, "%s, full range\t%s\n", c.Name, digest(want))
		if got := planned(t, &wide); got != nil && digest(got) != digest(want) {
			t.Errorf("%s, full range: the plan's integers differ from the reference's", c.Name)
		}
	}
	const path = "testdata/integers.txt"
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := func(s string) map[string]string {
		m := map[string]string{}
		for l := range strings.Lines(s) {
			if name, sum, ok := strings.Cut(strings.TrimSpace(l), "\t"); ok {
				m[name] = sum
			}
		}
		return m
	}
	got, want := lines(b.String()), lines(string(golden))
	for _, l := range strings.Split(b.String(), "\n") {
		name, sum, ok := strings.Cut(l, "\t")
		switch {
		case !ok:
		case want[name] == "":
			t.Errorf("%s is not in %s; refresh it with -update", name, path)
		case want[name] != sum:
			t.Errorf("%s: the integers are not those of %s", name, path)
		}
	}
	for _, l := range strings.Split(string(golden), "\n") {
		if name, _, ok := strings.Cut(l, "\t"); ok && got[name] == "" {
			t.Errorf("%s: %s is no longer an integer case; refresh it with -update", path, name)
		}
	}
}

// planned runs the case as a plan; nil where it is not one (it has no output that
// a plan may give, or it is not supported there).
func planned(t *testing.T, c *Case) []*tensor.Tensor {
	g, feeds := c.Build()
	for i, v := range g.Outputs {
		v.Name = fmt.Sprintf("y%d", i)
	}
	p, err := plan.NewProgram(g, plan.Options{Threads: 1, CPU: ptr(cpu.Detect())})
	if err != nil {
		return nil
	}
	in := map[string]tensor.Type{}
	for name, x := range feeds {
		in[name] = x.Type
	}
	pl, err := p.Plan(in)
	if err != nil {
		return nil
	}
	s, err := pl.NewSession()
	if err != nil {
		t.Errorf("%s: %v", c.Name, err)
		return nil
	}
	for name, x := range feeds {
		copy(s.Input(name).Bytes(), x.Bytes())
	}
	if err := s.Run(t.Context()); errors.Is(err, op.ErrUnsupported) {
		return nil // shapes that depend on several inputs' data
	} else if err != nil {
		t.Errorf("%s: %v", c.Name, err)
		return nil
	}
	var out []*tensor.Tensor
	for _, v := range g.Outputs {
		out = append(out, s.Output(v.Name))
	}
	return out
}

func ptr[T any](v T) *T { return &v }

// integers reports whether the tensors are all integers or bools, and some are there.
func integers(ts []*tensor.Tensor) bool {
	n := 0
	for _, x := range ts {
		if x == nil {
			continue
		}
		switch x.DType {
		case tensor.Bool, tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64:
		default:
			return false
		}
		n++
	}
	return n > 0
}

// free are the inputs that count: constant floats, which are scales of integers, do not.
func free(c *Case) []*tensor.Tensor {
	in := slices.Clone(c.In)
	for _, i := range c.ConstIn {
		if in[i] != nil && in[i].DType.IsFloat() {
			in[i] = nil
		}
	}
	return in
}

// anything is a tensor of x's type of any bits.
func anything(seed uint64, x *tensor.Tensor) *tensor.Tensor {
	r := rand.New(rand.NewPCG(seed, 0x696e74))
	y := tensor.New(x.DType, x.Shape...)
	b := y.Bytes()
	for i := range b {
		b[i] = byte(r.Uint32())
		if x.DType == tensor.Bool {
			b[i] &= 1
		}
	}
	return y
}

func digest(ts []*tensor.Tensor) string {
	h := sha256.New()
	for _, x := range ts {
		if x != nil {
			fmt.Fprintf(h, "%v\n", x.Type)
			h.Write(x.Bytes())
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
