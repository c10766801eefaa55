package kernel

import (
	"whit/graph"
	"whit/internal/kern"
)

// Softmax of float32 along one axis: exp(x - max x) by kern.Exp, summed in float64
// in the order of the axis, one division an element. Lines that lie side by side are
// taken many at a time.
func init() {
	Register(Kernel{
		Op: "Softmax", Name: "f32_softmax", Priority: 10,
		Match: func(n *graph.Node, _ *Env) bool {
			return f32Node(n) && len(n.In[0].Type.Shape) > 0 && n.In[0].Type.Shape.NumElements() > 0
		},
		Prepare: func(n *graph.Node, e *Env) (*Prepared, error) {
			s := n.In[0].Type.Shape
			axis := int(n.Int("axis", -1))
			if axis < 0 {
				axis += len(s)
			}
			m := softmax{flat: kern.FlatOf(e.CPU), size: s[axis], inner: s[axis+1:].NumElements()}
			p := &Prepared{InPlace: []int{0}}
			if m.inner == 1 {
				lines := s.NumElements() / m.size
				tiles, _ := split(lines, 1, m.size*8)
				p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
					x, y := f32s(c.In[0]), f32s(c.Out[0])
					l0, l1 := part(tile, tiles, lines)
					for l := l0; l < l1; l++ {
						m.line(x[l*m.size:][:m.size], y[l*m.size:][:m.size])
					}
				}}}
				return p, nil
			}
			const most = 512 // lines taken together
			chunks := (m.inner + most - 1) / most
			units := s[:axis].NumElements() * chunks
			tiles, _ := split(units, 1, m.size*m.inner/chunks*8)
			p.Scratch = 4 * most
			p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, scratch []byte) {
				x, y := f32s(c.In[0]), f32s(c.Out[0])
				u0, u1 := part(tile, tiles, units)
				for u := u0; u < u1; u++ {
					at := u / chunks * m.size * m.inner
					from, to := part(u%chunks, chunks, m.inner)
					m.lines(x[at+from:], y[at+from:], kern.Floats(scratch)[:to-from])
				}
			}}}
			return p, nil
		},
	})
}

type softmax struct {
	flat        kern.Flat
	size, inner int
}

func (m *softmax) line(x, y []float32) {
	top := x[:1]
	for i, v := range x {
		if v > top[0] || v != v {
			top = x[i : i+1]
		}
	}
	m.flat.Binary(kern.OpSub, y, x, []float32{top[0]}, 1, 0)
	m.flat.Exp(y, y)
	var sum float64
	for _, e := range y {
		sum += float64(e)
	}
	m.flat.Binary(kern.OpDiv, y, y, []float32{float32(sum)}, 1, 0)
}

// lines computes len(t) lines, elements of which are inner apart; t is overwritten.
func (m *softmax) lines(x, y, t []float32) {
	n := len(t)
	copy(t, x)
	for k := 1; k < m.size; k++ {
		m.flat.Binary(kern.OpMax, t, t, x[k*m.inner:], 1, 1)
	}
	for k := range m.size {
		d := y[k*m.inner:][:n]
		m.flat.Binary(kern.OpSub, d, x[k*m.inner:], t, 1, 1)
		m.flat.Exp(d, d)
	}
	for i := range t {
		var sum float64
		for k := range m.size {
			sum += float64(y[k*m.inner+i])
		}
		t[i] = float32(sum)
	}
	for k := range m.size {
		d := y[k*m.inner:][:n]
		m.flat.Binary(kern.OpDiv, d, d, t, 1, 1)
	}
}
