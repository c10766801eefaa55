package optest

import (
	"bytes"
	"math"
	"testing"

	"whit/graph"
	"whit/internal/cpu"
	"whit/kernel"
	"whit/op"
	"whit/tensor"
)

// TestUpdates writes the update rules out once more, in float64, for one element.
func TestUpdates(t *testing.T) {
	const p, g, m, v, lr, c1, c2, ema, e = 0.5, -0.25, 0.125, 0.25, 0.1, 2.0, 4.0, 0.25, 1.0
	one := func(x float64) *tensor.Tensor { return tensor.From([]float64{x}, 1) }
	hyper := func() *tensor.Tensor { return tensor.From([]float64{lr, c1, c2, ema}, 4) }
	common := map[string]any{"scale": float32(0.5), "decay": float32(0.25), "l2": float32(0.5), "l1": float32(0.125)}
	with := func(kv ...any) map[string]any {
		a := map[string]any{}
		for k, x := range common {
			a[k] = x
		}
		for i := 0; i < len(kv); i += 2 {
			a[kv[i].(string)] = kv[i+1]
		}
		return a
	}
	gp := g + 0.5*p + 0.125
	mom := func(nesterov bool) []float64 {
		b := 0.5*m + gp
		d := b
		if nesterov {
			d = gp + 0.5*b
		}
		q := p - lr*0.5*(d+0.25*p)
		return []float64{q, b, e + ema*(q-e)}
	}
	am, av := 0.5*m+0.5*gp, 0.75*v+0.25*gp*gp
	ap := p - lr*0.5*(am*c1/(math.Sqrt(av*c2)+0.5)+0.25*p)
	tests := []struct {
		name  string
		op    string
		attrs map[string]any
		in    []*tensor.Tensor
		at    []int // inputs that are written
		want  []float64
	}{
		{"assign", "Assign", nil, []*tensor.Tensor{one(1), one(2)}, []int{0}, []float64{2}},
		{"ema", "EMA", nil, []*tensor.Tensor{one(1), one(3), one(0.25)}, []int{0}, []float64{1.5}},
		{"sgd", "SGD", common, []*tensor.Tensor{one(p), one(g), nil, hyper()}, []int{0}, []float64{p - lr*0.5*(gp+0.25*p)}},
		{"momentum", "SGD", with("momentum", float32(0.5)), []*tensor.Tensor{one(p), one(g), one(m), hyper(), one(e)}, []int{0, 2, 4}, mom(false)},
		{"nesterov", "SGD", with("momentum", float32(0.5), "nesterov", int64(1)), []*tensor.Tensor{one(p), one(g), one(m), hyper(), one(e)}, []int{0, 2, 4}, mom(true)},
		{"adamw", "AdamW", with("beta1", float32(0.5), "beta2", float32(0.75), "epsilon", float32(0.5)),
			[]*tensor.Tensor{one(p), one(g), one(m), one(v), hyper(), one(e)}, []int{0, 2, 3, 5}, []float64{ap, am, av, e + ema*(ap-e)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := &graph.Node{Name: tt.name, Domain: graph.Domain, Op: tt.op, Attrs: tt.attrs}
			for _, x := range tt.in {
				if x == nil {
					n.In = append(n.In, nil)
				} else {
					n.In = append(n.In, &graph.Value{Name: "v", Kind: graph.State, Type: x.Type, Data: x})
				}
			}
			if _, err := op.Infer(n); err != nil {
				t.Fatal(err)
			}
			if err := op.Of(n).Ref(n, tt.in, nil); err != nil {
				t.Fatal(err)
			}
			for i, k := range tt.at {
				if got := tensor.Of[float64](tt.in[k])[0]; math.Abs(got-tt.want[i]) > 1e-12 {
					t.Errorf("input %d: %v, want %v", k, got, tt.want[i])
				}
			}
		})
	}
}

// TestWritingKernels compares what kernels of operators that write variables leave
// in them with the reference's, on every CPU variant, whose bits must agree.
func TestWritingKernels(t *testing.T) {
	x := func(seed uint64, n int) *tensor.Tensor { return Rand(seed, tensor.Float32, n) }
	positive := func(seed uint64, n int) *tensor.Tensor {
		t := x(seed, n)
		for i, v := range tensor.Of[float32](t) {
			tensor.Of[float32](t)[i] = v * v
		}
		return t
	}
	hyper := F32([]float32{0.1, 1.5, 2.5, 0.25}, 4)
	penalties := map[string]any{"scale": float32(0.5), "decay": float32(0.25), "l2": float32(0.5)}
	l1 := map[string]any{"l1": float32(0.125)}
	momentum := map[string]any{"momentum": float32(0.9), "nesterov": int64(1), "decay": float32(0.1)}
	for _, n := range []int{1, 7, 20, 40001} {
		cs := []Case{
			{Name: "assign", Op: "Assign", In: []*tensor.Tensor{x(1, n), x(2, n)}},
			{Name: "ema", Op: "EMA", In: []*tensor.Tensor{x(1, n), x(2, n), F32([]float32{0.25})}},
			{Name: "sgd", Op: "SGD", Attrs: penalties, In: []*tensor.Tensor{x(1, n), x(2, n), nil, hyper}},
			{Name: "sgd/momentum", Op: "SGD", Attrs: momentum, In: []*tensor.Tensor{x(1, n), x(2, n), x(3, n), hyper, x(4, n)}},
			{Name: "adamw", Op: "AdamW", Attrs: penalties, In: []*tensor.Tensor{x(1, n), x(2, n), x(3, n), positive(4, n), hyper}},
			{Name: "adamw/ema", Op: "AdamW", Attrs: l1, In: []*tensor.Tensor{x(1, n), x(2, n), x(3, n), positive(4, n), hyper, x(5, n)}},
		}
		for _, c := range cs {
			clone := func() []*tensor.Tensor {
				in := make([]*tensor.Tensor, len(c.In))
				for i, t := range c.In {
					if t != nil {
						in[i] = t.Clone()
					}
				}
				return in
			}
			node := &graph.Node{Name: c.Name, Domain: graph.Domain, Op: c.Op, Attrs: c.Attrs}
			for _, t := range c.In {
				if t == nil {
					node.In = append(node.In, nil)
				} else {
					node.In = append(node.In, &graph.Value{Name: "v", Kind: graph.State, Type: t.Type})
				}
			}
			want := clone()
			if err := op.Of(node).Ref(node, want, nil); err != nil {
				t.Fatal(err)
			}
			for _, k := range kernel.For(graph.Domain, c.Op) {
				var first []*tensor.Tensor
				for _, f := range cpu.Detect().Variants() {
					e := &kernel.Env{CPU: f, Training: true}
					if !k.Match(node, e) {
						continue
					}
					p, err := k.Prepare(node, e)
					if err != nil {
						t.Fatal(err)
					}
					call := &kernel.Call{In: clone(), Temp: garbage(p.Temp)}
					for _, ph := range p.Phases {
						for i := range ph.Tiles {
							ph.Run(call, i, garbage(p.Scratch))
						}
					}
					for i, w := range want {
						if w == nil {
							continue
						}
						if d := Diff(call.In[i], w); !(d <= 1e-5) {
							t.Errorf("%s/%d/%s/%v: input %d differs by %g", c.Name, n, k.Name, f, i, d)
						}
						if first != nil && !bytes.Equal(first[i].Bytes(), call.In[i].Bytes()) {
							t.Errorf("%s/%d/%s/%v: input %d: other bits than another variant", c.Name, n, k.Name, f, i)
						}
					}
					first = call.In
				}
			}
		}
	}
}
