package main

import (
	"strconv"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	kernels = append(kernels,
		kernel{"f32_normsums_avx2", normSums},
		kernel{"f32_normgradsums_avx2", normGradSums},
		kernel{"f32_norm_avx2", norm},
		kernel{"f32_normgrad_avx2", normGrad})
}

// perChannel is the frame of kernels over n channels, a multiple of 8, of some pixels:
// groups of 8·k channels, and for each of them all pixels.
type perChannel struct {
	c       *build.Context
	doubles []reg.GPPhysical // of the group
	pixel   []reg.GPPhysical // of the pixel
}

// channels writes the loops over groups of 8·k channels, for k of ks, and over pixels.
// doubles and floats are the pointers among the parameters, strides those of floats;
// before and after a group's pixels, sums and factors are loaded and stored.
func channels(c *build.Context, doubles, floats, strides []string, ks []int,
	before, body, after func(p *perChannel, k int)) {
	free := []reg.GPPhysical{reg.RDI, reg.RSI, reg.RDX, reg.RBX, reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R15}
	take := func() reg.GPPhysical {
		r := free[0]
		free = free[1:]
		return r
	}
	p := &perChannel{c: c}
	for _, d := range doubles {
		r := take()
		c.Load(c.Param(d), r)
		p.doubles = append(p.doubles, r)
	}
	for range floats {
		p.pixel = append(p.pixel, take())
	}
	// at is how many bytes of floats the groups so far have taken.
	at, left := reg.RAX, reg.RCX
	c.XORQ(at, at)
	n := c.AllocLocal(8)
	c.Load(c.Param("n"), left)
	c.MOVQ(left, n)
	// Strides in bytes, in what registers there are.
	var steps []operand.Op
	for _, s := range strides {
		if len(free) > 0 {
			r := take()
			c.Load(c.Param(s), r)
			c.SHLQ(operand.U8(2), r)
			steps = append(steps, r)
			continue
		}
		m := c.AllocLocal(8)
		c.Load(c.Param(s), left)
		c.SHLQ(operand.U8(2), left)
		c.MOVQ(left, m)
		steps = append(steps, m)
	}
	for _, k := range ks {
		label := "group" + strconv.Itoa(8*k)
		c.Label(label)
		c.CMPQ(n, operand.U8(8*k))
		c.JLT(operand.LabelRef(label + "done"))
		for i, f := range floats {
			c.Load(c.Param(f), p.pixel[i])
			c.ADDQ(at, p.pixel[i])
		}
		before(p, k)
		c.Load(c.Param("pixels"), left)
		c.Label(label + "pixel")
		body(p, k)
		for i := range floats {
			c.ADDQ(steps[i], p.pixel[i])
		}
		c.DECQ(left)
		c.JNZ(operand.LabelRef(label + "pixel"))
		after(p, k)
		for _, d := range p.doubles {
			c.ADDQ(operand.U32(64*k), d)
		}
		c.ADDQ(operand.U32(32*k), at)
		c.SUBQ(operand.U8(8*k), n)
		c.JMP(operand.LabelRef(label))
		c.Label(label + "done")
	}
	c.VZEROUPPER()
	c.RET()
}

// load and store move 8·k doubles of parameter i between memory and registers from r on.
func (p *perChannel) load(i, k, r int) {
	for j := range 2 * k {
		p.c.VMOVUPD(mem(p.doubles[i], 32*j), ymm[r+j])
	}
}

func (p *perChannel) store(i, k, r int) {
	for j := range 2 * k {
		p.c.VMOVUPD(ymm[r+j], mem(p.doubles[i], 32*j))
	}
}

func none(*perChannel, int) {}

func normSums(c *build.Context) {
	function(c, "f32NormSumsAVX2", "func(r, rr, pivot *float64, x *float32, n, pixels, stride int)", `f32NormSumsAVX2 adds pixels of n channels, a multiple of 8:

	for p := range pixels {
		for c := range n {
			d := float64(x[p*stride+c]) - pivot[c]
			r[c] += d
			rr[c] += float64(d * d)
		}
	}`)
	channels(c, []string{"r", "rr", "pivot"}, []string{"x"}, []string{"stride"}, []int{2, 1},
		func(p *perChannel, k int) { p.load(0, k, 0); p.load(1, k, 4); p.load(2, k, 8) },
		func(p *perChannel, k int) {
			for j := range 2 * k {
				d := ymm[12+j]
				c.VCVTPS2PD(mem(p.pixel[0], 16*j), d)
				c.VSUBPD(ymm[8+j], d, d)
				c.VADDPD(d, ymm[j], ymm[j])
				c.VMULPD(d, d, d)
				c.VADDPD(d, ymm[4+j], ymm[4+j])
			}
		},
		func(p *perChannel, k int) { p.store(0, k, 0); p.store(1, k, 4) })
}

func normGradSums(c *build.Context) {
	function(c, "f32NormGradSumsAVX2", "func(r, rr, d, dr, pivot *float64, dy, x *float32, n, pixels, dyStride, xStride int)", `f32NormGradSumsAVX2 adds pixels of n channels, a multiple of 8:

	for p := range pixels {
		for c := range n {
			e, f := float64(dy[p*dyStride+c]), float64(x[p*xStride+c]) - pivot[c]
			r[c] += f
			rr[c] += float64(f * f)
			d[c] += e
			dr[c] += float64(e * f)
		}
	}`)
	channels(c, []string{"r", "rr", "d", "dr", "pivot"}, []string{"dy", "x"}, []string{"dyStride", "xStride"}, []int{1},
		func(p *perChannel, k int) {
			for i := range 5 {
				p.load(i, k, 2*i)
			}
		},
		func(p *perChannel, k int) {
			for j := range 2 {
				e, f := ymm[10+2*j], ymm[11+2*j]
				c.VCVTPS2PD(mem(p.pixel[0], 16*j), e)
				c.VCVTPS2PD(mem(p.pixel[1], 16*j), f)
				c.VSUBPD(ymm[8+j], f, f)
				c.VADDPD(e, ymm[4+j], ymm[4+j])
				c.VADDPD(f, ymm[j], ymm[j])
				c.VMULPD(f, e, e)
				c.VMULPD(f, f, f)
				c.VADDPD(e, ymm[6+j], ymm[6+j])
				c.VADDPD(f, ymm[2+j], ymm[2+j])
			}
		},
		func(p *perChannel, k int) {
			for i := range 4 {
				p.store(i, k, 2*i)
			}
		})
}

func norm(c *build.Context) {
	function(c, "f32NormAVX2", "func(y, x *float32, mean, factor, bias *float64, n, pixels, yStride, xStride int)", `f32NormAVX2 normalizes pixels of n channels, a multiple of 8:

	for p := range pixels {
		for c := range n {
			y[p*yStride+c] = float32(float64(factor[c]*(float64(x[p*xStride+c])-mean[c])) + bias[c])
		}
	}`)
	channels(c, []string{"mean", "factor", "bias"}, []string{"y", "x"}, []string{"yStride", "xStride"}, []int{2, 1},
		func(p *perChannel, k int) { p.load(0, k, 0); p.load(1, k, 4); p.load(2, k, 8) },
		func(p *perChannel, k int) {
			for j := range 2 * k {
				d := ymm[12+j]
				c.VCVTPS2PD(mem(p.pixel[1], 16*j), d)
				c.VSUBPD(ymm[j], d, d)
				c.VMULPD(ymm[4+j], d, d)
				c.VADDPD(ymm[8+j], d, d)
				c.VCVTPD2PSY(d, d.AsX())
				c.VMOVUPS(d.AsX(), mem(p.pixel[0], 16*j))
			}
		}, none)
}

func normGrad(c *build.Context) {
	function(c, "f32NormGradAVX2", "func(dx, dy, x *float32, mean, off, slope, factor *float64, n, pixels, dxStride, dyStride, xStride int)", `f32NormGradAVX2 is the gradient of pixels of n channels, a multiple of 8:

	for p := range pixels {
		for c := range n {
			r := float64(x[p*xStride+c]) - mean[c]
			dx[p*dxStride+c] = float32((float64(dy[p*dyStride+c]) - off[c] - float64(r*slope[c])) * factor[c])
		}
	}`)
	channels(c, []string{"mean", "off", "slope", "factor"}, []string{"dx", "dy", "x"}, []string{"dxStride", "dyStride", "xStride"}, []int{1},
		func(p *perChannel, k int) {
			for i := range 4 {
				p.load(i, k, 2*i)
			}
		},
		func(p *perChannel, k int) {
			for j := range 2 {
				e, f := ymm[8+2*j], ymm[9+2*j]
				c.VCVTPS2PD(mem(p.pixel[1], 16*j), e)
				c.VCVTPS2PD(mem(p.pixel[2], 16*j), f)
				c.VSUBPD(ymm[2+j], e, e)
				c.VSUBPD(ymm[j], f, f)
				c.VMULPD(ymm[4+j], f, f)
				c.VSUBPD(f, e, e)
				c.VMULPD(ymm[6+j], e, e)
				c.VCVTPD2PSY(e, e.AsX())
				c.VMOVUPS(e.AsX(), mem(p.pixel[0], 16*j))
			}
		}, none)
}
