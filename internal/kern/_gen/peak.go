package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	kernels = append(kernels,
		kernel{"f32_peak_avx2", func(c *build.Context) { peak(c, "f32PeakAVX2", ymm[:12], ymm[12]) }},
		kernel{"f32_peak_avx512", func(c *build.Context) { peak(c, "f32PeakAVX512", zmm[:24], zmm[24]) }})
}

// peak issues independent FMAs and nothing else.
func peak(c *build.Context, name string, acc []reg.VecPhysical, one reg.VecPhysical) {
	function(c, name, "func(n int)", name+` measures the core's limit:

	for range n {
		// one FMA on each of as many registers as the product kernel accumulates in
	}`)
	c.Load(c.Param("n"), reg.RAX)
	for _, r := range append(acc, one) {
		if one.Size() == 64 {
			c.VPXORD(r, r, r)
		} else {
			c.VXORPS(r, r, r)
		}
	}
	c.Label("loop")
	for _, r := range acc {
		c.VFMADD231PS(one, one, r)
	}
	c.DECQ(reg.RAX)
	c.JNZ(operand.LabelRef("loop"))
	c.VZEROUPPER()
	c.RET()
}
