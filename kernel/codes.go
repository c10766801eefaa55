package kernel

import (
	"fmt"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
	"whit/weight"
)

// Products of few rows with a constant matrix that is held as indices into a codebook of 16 or as
// levels of 2 to 8 bits: the weights stay packed in memory, at 4 or 8 bits each, whose reading is what such a
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
		// Scales are one for all, or one for each output, or for groups along k of it.
		alongK := (w.Axis == 1) != s.columns
		switch {
		case w.Axis == weight.PerTensor, w.Group == 0 && !alongK:
		case w.Group > 0 && alongK && (w.Group%8 == 0 || w.Group >= s.cin):
		default:
			return 0, false
		}
		switch signed := w.Q.DType.IsSigned(); {
		case w.Q.DType.Packed() && signed:
			return kern.CodesI4, true
		case w.Q.DType.Packed():
			return kern.CodesU4, true
		case signed:
			return kern.CodesI8, true
		}
		return kern.CodesU8, true
	}
	return 0, false
}

// packCodes brings the codes of the constant, [K,N] or [N,K], into panels.
func packCodes(s *sparseProduct, e *Env, form kern.CodeForm, k int, code func(i int) byte) []byte {
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
				v := code(at + i*step)
				if form.Nibbles() {
					panel[(i/8*codesPanel+c)*4+i%8/2] |= v & 15 << (i % 2 * 4)
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
	if form.Nibbles() && k%8 != 0 {
		k = (k + 7) &^ 7
		copied = m * k
	}
	call := kern.Codes{LDX: k, M: m, K: k, Form: form}
	var packed []byte
	var scale []float32 // panel by panel, group by group, 16 columns
	var zero []int32
	group, groups := k, 1 // k that share scales
	switch w := s.n.In[1].Weight.(type) {
	case weight.Codebook:
		packed = packCodes(s, e, form, k, func(i int) byte { return w.Indices.Bytes()[i] })
		call.Table = make([]float32, form.Table())
		copy(call.Table, w.Centroids)
	case weight.Int8:
		packed = packCodes(s, e, form, k, func(i int) byte { return byte(w.Level(i)) })
		if w.Group > 0 && w.Group < s.cin {
			group, groups = w.Group, (s.cin-1)/w.Group+1
		}
		scale, zero = make([]float32, groups*panels*codesPanel), make([]int32, groups*panels*codesPanel)
		for n := range s.cout {
			for g := range groups {
				from := g*s.cout + n // of scales held [groups,N]
				switch {
				case len(w.Scale) == 1:
					from = 0
				case !s.columns:
					from = n*groups + g
				}
				to := (n/codesPanel*groups+g)*codesPanel + n%codesPanel
				scale[to] = w.Scale[from]
				if w.Zero != nil {
					zero[to] = w.Zero[from]
				}
			}
		}
	}
	bias, size := s.n.Input(2) != nil, form.PanelBytes(k)
	tiles, _ := split(panels, 1, codesPanel*k*12)
	return &Prepared{Kernel: u.Name(form), Packed: []int{1}, Scratch: 4 * (codesRows*codesPanel + copied), Phases: []Phase{{
		Tiles: tiles, Run: func(c *Call, tile int, scratch []byte) {
			t, f := call, kern.Floats(scratch)
			y := f32s(c.Out[0])
			t.Y = f[:codesRows*codesPanel]
			all := f32s(c.In[0])
			if copied > 0 {
				x := f[codesRows*codesPanel:][:copied]
				for i := range m {
					clear(x[i*k+copy(x[i*k:(i+1)*k], all[i*s.cin:(i+1)*s.cin]) : (i+1)*k])
				}
				all = x
			}
			p0, p1 := part(tile, tiles, panels)
			for p := p0; p < p1; p++ {
				from, to := p*codesPanel, min(s.cout, (p+1)*codesPanel)
				for g := range groups {
					k0 := g * group
					t.K, t.X, t.Acc = min(group, k-k0), all[k0:], g > 0
					t.W = packed[p*size+form.PanelBytes(k0) : (p+1)*size]
					if scale != nil {
						at := (p*groups + g) * codesPanel
						t.Scale, t.Zero = scale[at:], zero[at:]
					}
					u.Run(&t)
				}
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
