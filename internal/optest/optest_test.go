package optest

import (
	"math"
	"slices"
	"testing"

	"whit/graph"
	"whit/op"
	"whit/tensor"
)

func TestEveryOperatorHasACase(t *testing.T) {
	has := map[[2]string]bool{}
	for _, c := range All() {
		has[[2]string{c.Domain, c.Op}] = true
	}
	for _, o := range op.All() {
		if !has[[2]string{o.Domain, o.Name}] {
			t.Errorf("operator %q %s has no case", o.Domain, o.Name)
		}
	}
}

func TestReference(t *testing.T) {
	for _, c := range All() {
		t.Run(c.Name, func(t *testing.T) {
			g, feeds := c.Build()
			got, err := Eval(g, feeds)
			if c.Err {
				if err == nil {
					t.Fatal("want an error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for i, w := range c.Want {
				if w == nil {
					continue
				}
				if d := Diff(got[i], w); !(d <= tol(c.Tol, w.DType)) {
					t.Errorf("output %d: %v against %v: differs by %g", i, f64s(got[i]), f64s(w), d)
				}
			}
			if !c.F32Only {
				variants(t, c, got)
			}
		})
	}
}

// variants runs a float32 case as the other float types: small floats must be
// the float32 result on the rounded inputs, rounded once.
func variants(t *testing.T, c Case, want []*tensor.Tensor) {
	isF32 := func(x *tensor.Tensor) bool { return x != nil && x.DType == tensor.Float32 }
	if !slices.ContainsFunc(c.In, isF32) {
		return
	}
	for _, d := range []tensor.DType{tensor.Float64, tensor.Float16, tensor.BFloat16} {
		v, w := c, c
		v.In, w.In = slices.Clone(c.In), slices.Clone(c.In)
		for i, x := range c.In {
			if isF32(x) {
				v.In[i] = tensor.New(d, x.Shape...)
				tensor.Convert(v.In[i], x)
				w.In[i] = tensor.New(tensor.Float32, x.Shape...)
				tensor.Convert(w.In[i], v.In[i])
			}
		}
		gv, fv := v.Build()
		got, err := Eval(gv, fv)
		if err != nil {
			t.Errorf("%v: %v", d, err)
			continue
		}
		gw, fw := w.Build()
		ref, err := Eval(gw, fw)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if !isF32(ref[i]) {
				continue
			}
			r := tensor.New(d, ref[i].Shape...)
			tensor.Convert(r, ref[i])
			limit := 0.0
			if d == tensor.Float64 {
				limit = 1e-4
			}
			if got[i].DType != d {
				t.Errorf("%v: output %d has type %v", d, i, got[i].DType)
			} else if x := Diff(got[i], r); !(x <= limit) {
				t.Errorf("%v: output %d differs by %g", d, i, x)
			}
		}
	}
}

func tol(t float64, d tensor.DType) float64 {
	switch {
	case t > 0:
		return t
	case d == tensor.Float16:
		return 1e-3
	case d == tensor.BFloat16:
		return 1e-2
	case d.IsFloat():
		return 1e-5
	}
	return 0
}

// TestGradient compares the gradient of sum(r*y), r seeded, with central
// differences, all in float64.
func TestGradient(t *testing.T) {
	for _, c := range All() {
		if len(c.Grad) == 0 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) { gradient(t, c) })
	}
}

func gradient(t *testing.T, c Case) {
	c.In = slices.Clone(c.In)
	for i, x := range c.In {
		if x != nil && x.DType == tensor.Float32 {
			c.In[i] = tensor.New(tensor.Float64, x.Shape...)
			tensor.Convert(c.In[i], x)
		}
	}
	g, feeds := c.Build()
	y, err := Eval(g, feeds)
	if err != nil {
		t.Fatal(err)
	}
	n := g.Nodes[0]
	var grads []*graph.Value
	var rs []*tensor.Tensor
	for i, v := range g.Outputs {
		if !y[i].DType.IsFloat() {
			grads, rs = append(grads, nil), append(rs, nil)
			continue
		}
		r := Rand(uint64(100+i), tensor.Float64, v.Type.Shape...)
		rs = append(rs, r)
		grads = append(grads, g.NewConst("", r))
	}
	o := op.Of(n)
	if o.VJP == nil {
		t.Fatal("no gradient")
	}
	gin, err := o.VJP(g, n, grads)
	if err != nil {
		t.Fatal(err)
	}
	loss := func() float64 {
		h, f := c.Build()
		y, err := Eval(h, f)
		if err != nil {
			t.Fatal(err)
		}
		var s float64
		for i, r := range rs {
			if r == nil {
				continue
			}
			a, b := f64s(y[i]), f64s(r)
			for k := range a {
				s += a[k] * b[k]
			}
		}
		return s
	}
	for _, i := range c.Grad {
		if gin[i] == nil {
			t.Fatalf("no gradient for input %d", i)
		}
		h := *g
		h.Outputs = []*graph.Value{gin[i]}
		if err := h.Verify(); err != nil {
			t.Fatal(err)
		}
		got, err := Eval(&h, feeds)
		if err != nil {
			t.Fatal(err)
		}
		x, d := tensor.Of[float64](c.In[i]), f64s(got[0])
		if len(d) != len(x) {
			t.Fatalf("gradient of input %d has type %v, input %v", i, got[0].Type, c.In[i].Type)
		}
		limit := c.GradTol
		if limit == 0 {
			limit = 1e-5
		}
		const eps = 1e-6
		for k := 0; k < len(x); k += 1 + len(x)/50 {
			old := x[k]
			x[k] = old + eps
			up := loss()
			x[k] = old - eps
			down := loss()
			x[k] = old
			if want := (up - down) / (2 * eps); math.Abs(want-d[k]) > limit*max(1, math.Abs(want)) {
				t.Errorf("input %d element %d: gradient %g, finite difference %g", i, k, d[k], want)
				break
			}
		}
	}
}
