package cpu

// Features is a set of instruction sets that kernels ask for.
type Features struct {
	AVX2FMA bool // amd64: AVX2, FMA3, and the system saves YMM registers
	AVX512  bool // amd64: AVX-512 F, BW, DQ, VL, and the system saves ZMM registers
	VNNI    bool // amd64: AVX-512 VNNI
	VBMI    bool // amd64: AVX-512 VBMI
	AMX     bool // amd64: AMX-TILE and AMX-INT8, and the system lets this process use them
	NEON    bool // arm64: always there
	DotProd bool // arm64: SDOT, UDOT
}
