package kernel

import (
	"fmt"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
	"whit/weight"
)

// Products of few rows with a constant matrix that is held as indices into a codebook of 16 or as
// 8-bit levels: the weights stay packed in memory, whose reading is what such a
// product waits for, and are decoded in registers.
func init() {
	for _, on := range [][2]string{{"", "Gemm"}, {graph.Domain, "Fused"}, {"", "MatMul"}} {
		Register(Kernel{
			Domain: on[0], Op: on[1], Name: "f32_codes_" + lower(on[1]), Priority: 25,
			Match: func(n *graph.Node, e *Env) bool {
				s := sparseOf(n)
				if s == nil || !s.matrix || e.Training {
					return false
				}
				_, why := codesVerdict(s, e)
				return why == ""
			},
			Prepare: prepareCodes,
		})
	}
}

const (
	codesPanel = 16 // columns of a panel
	codesRows  = 4  // rows, at most
)

// codesCached is how many bytes of dense weights stay in the caches between runs: the
// dense kernel reads them faster than they are decoded.
const codesCached = 2 << 20

// codesVerdict is the form in which the weights of s stay, or why they do not.
func codesVerdict(s *sparseProduct, e *Env) (kern.CodeForm, string) {
	form, ok := codesForm(s)
	switch e.chosen(s.n) {
	case coded:
		return form, ""
	case "", sameBits:
	default:
		return 0, "dense"
	}
	switch dense := 4 * s.k() * s.cout; {
	case !ok:
		return 0, "dense: no kernel for the encoding"
	case s.w.ow > codesRows:
		return 0, fmt.Sprintf("dense: %d rows", s.w.ow)
	case dense <= codesCached:
		return 0, fmt.Sprintf("dense: %d bytes stay in the caches", dense)
	case kern.CodedOf(e.CPU) == (kern.Coded{}):
		return 0, "dense: no kernel for this processor"
	}
	return form, ""
}

// codesForm is the form of kern for the constant of s.
func codesForm(s *sparseProduct) (kern.CodeForm, bool) {
	switch w := s.n.In[1].Weight.(type) {
	case weight.Codebook:
		// Larger tables decode no faster than the dense weights are read: 32 entries
		// took 1.1 times as long, 256 (by gathers) 1.6 times.
		if n := len(w.Centroids); w.Indices.DType == tensor.Uint8 && n > 0 && n <= kern.Codes4.Table() {
			return kern.Codes4, true
		}
	case weight.Int8:
		// Scales are one for all, or one for each output.
		if axis := w.Axis; w.Q.DType.Packed() || w.Group != 0 || axis != weight.PerTensor && (axis == 1) != s.columns {
			break
		}
		if w.Q.DType == tensor.Uint8 {
			return kern.CodesU8, true
		}
		return kern.CodesI8, true
	}
	return 0, false
}

// packCodes brings the bytes b of the constant, [K,N] or [N,K], into panels.
func packCodes(s *sparseProduct, e *Env, form kern.CodeForm, k int, b []byte) []byte {
	panels, own := (s.cout+codesPanel-1)/codesPanel, s.cin
	return e.Pack(s.n.In[1], fmt.Sprintf("f32_codes/%d/%d/%v", form, s.cout, s.columns), func() []byte {
		dst := make([]byte, panels*form.PanelBytes(k))
		for n := range s.cout {
			panel, c := dst[n/codesPanel*form.PanelBytes(k):], n%codesPanel
			at, step := n*own, 1
			if s.columns {
				at, step = n, s.cout
			}
			for i := range own {
				v := b[at+i*step]
				if form == kern.Codes4 {
					panel[(i/8*codesPanel+c)*4+i%8/2] |= v << (i % 2 * 4)
				} else {
					panel[i*codesPanel+c] = v
				}
			}
		}
		return dst
	})
}

func prepareCodes(n *graph.Node, e *Env) (*Prepared, error) {
	s, u := sparseOf(n), kern.CodedOf(e.CPU)
	form, _ := codesVerdict(s, e)
	m, k, panels := s.w.ow, s.cin, (s.cout+codesPanel-1)/codesPanel
	copied := 0 // floats of rows that end in zeros
	if form == kern.Codes4 && k%8 != 0 {
		k = (k + 7) &^ 7
		copied = m * k
	}
	call := kern.Codes{LDX: k, M: m, K: k, Form: form}
	var packed []byte
	var scale []float32
	var zero []int32
	switch w := s.n.In[1].Weight.(type) {
	case weight.Codebook:
		packed = packCodes(s, e, form, k, w.Indices.Bytes())
		call.Table = make([]float32, form.Table())
		copy(call.Table, w.Centroids)
	case weight.Int8:
		packed = packCodes(s, e, form, k, w.Q.Bytes())
		scale, zero = make([]float32, panels*codesPanel), make([]int32, panels*codesPanel)
		for i := range s.cout {
			c := i % len(w.Scale) // one, or one for each output
			scale[i] = w.Scale[c]
			if w.Zero != nil {
				zero[i] = w.Zero[c]
			}
		}
	}
	bias, size := s.n.Input(2) != nil, form.PanelBytes(k)
	tiles, _ := split(panels, 1, codesPanel*k*12)
	return &Prepared{Kernel: u.Name(form), Packed: []int{1}, Scratch: 4 * (codesRows*codesPanel + copied), Phases: []Phase{{
		Tiles: tiles, Run: func(c *Call, tile int, scratch []byte) {
			t, f := call, kern.Floats(scratch)
			y := f32s(c.Out[0])
			t.X, t.Y = f32s(c.In[0]), f[:codesRows*codesPanel]
			if copied > 0 {
				x := f[codesRows*codesPanel:][:copied]
				for i := range m {
					clear(x[i*k+copy(x[i*k:(i+1)*k], t.X[i*s.cin:(i+1)*s.cin]) : (i+1)*k])
				}
				t.X = x
			}
			p0, p1 := part(tile, tiles, panels)
			for p := p0; p < p1; p++ {
				from, to := p*codesPanel, min(s.cout, (p+1)*codesPanel)
				t.W = packed[p*size : (p+1)*size]
				if scale != nil {
					t.Scale, t.Zero = scale[from:], zero[from:]
				}
				u.Run(&t)
				for i := range m {
					row := y[i*s.cout+from : i*s.cout+to]
					for j, v := range t.Y[i*codesPanel:][:len(row)] {
						if bias {
							v += f32s(c.In[2])[from+j]
						}
						if v < s.act.lo {
							v = s.act.lo
						}
						if v > s.act.hi {
							v = s.act.hi
						}
						row[j] = v
					}
				}
			}
		}}}}, nil
}
