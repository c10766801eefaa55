package kern

// Trial adds one input channel to 16 outputs of one tile of F(4x4, 3x3), twice: by its
// products m [36][16], rounded one by one, and as a direct convolution in float64, exact
// [16][16]. v and f are the channel's transformed inputs [36] and filters [36][16], d
// and g the inputs [36] and filters [9][16] themselves. All variants give the same bits.
func (w Winograd) Trial(m []float32, exact []float64, v []float32, d []float64, f, g []float32) {
	_, _, _, _, _, _ = m[575], exact[255], v[35], d[35], f[575], g[143]
	if w.isa != isaGo && w.isa != isaNEON {
		w.trial(m, exact, v, d, f, g)
		return
	}
	for p, x := range v[:36] {
		for o, u := range f[16*p:][:16] {
			m[16*p+o] += float32(x * u)
		}
	}
	for i := range 16 {
		e := exact[16*i:][:16]
		for k := range 9 {
			x := d[(i/4+k/3)*6+i%4+k%3]
			for o, u := range g[16*k:][:16] {
				e[o] += x * float64(u) // exact: fused or not
			}
		}
	}
}
