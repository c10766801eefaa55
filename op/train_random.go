package op

// Random is the counter-based generator of training: 64 random bits that are a
// function of (seed, stream, index) alone, so that neither the number of workers
// nor the order of the draws shows. It chains the finaliser of SplitMix64 (G. L.
// Steele, D. Lea, C. H. Flood: Fast Splittable Pseudorandom Number Generators,
// 2014, figure 17) over the three words; counters instead of states are from J. K.
// Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: Parallel Random Numbers: As Easy
// as 1, 2, 3, 2011.
func Random(seed, stream, index uint64) uint64 {
	return mix64(mix64(mix64(seed+golden)+stream+golden) + index + golden)
}
