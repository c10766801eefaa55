//go:build !amd64 || noasm

package kern

func (v Ints) tile(t *I8Tile)                                                           { i8TileGo(t) }
func (v Ints) depthwise(t *I8Depthwise)                                                 { i8DepthwiseGo(t) }
func (v Ints) dwDot(t *I8DWDot)                                                         { i8DWDotGo(t) }
func (v Ints) quads([]byte, *[4][]byte, *[4]int, int, byte) bool                        { return false }
func (v Ints) transpose(_, _ []byte, _, _, _, _, _ int) bool                            { return false }
func (v Ints) max(t *I8Max)                                                             { i8MaxGo(t) }
func (v Ints) widen([]int16, []byte, byte, int) int                                     { return 0 }
func (v Ints) sum(*I8Sum) int                                                           { return 0 }
func (v Ints) product(*I8Product) int                                                   { return 0 }
func (v Ints) quantize([]byte, []float32, float32, float32, float32, int32) int         { return 0 }
func (v Ints) dequantize([]float32, []byte, byte, int, float32) int                     { return 0 }
func (v Ints) lookup([]byte, []byte, *Lookup, int, int, int, int) int                   { return 0 }
func (v Ints) sum16(t *I8Tile)                                                          { i8Sum16Go(t) }
func (v Ints) winoIn(t *I8WinoIn)                                                       { i8WinoInGo(t) }
func (v Ints) winoOut(t *I8WinoOut)                                                     { i8WinoOutGo(t) }
func (v Ints) winoIn4(t *I8WinoIn)                                                      { i8WinoIn4Go(t) }
func (v Ints) winoOut4(t *I8WinoOut)                                                    { i8WinoOut4Go(t) }
func (v Ints) winoSums(*I8WinoSums)                                                     {}
func (v Ints) sumAbs([]byte, byte) (n, sum, abs int)                                    { return 0, 0, 0 }
func (v Ints) tables(_, _, _ []byte, _, _, _, _ int) bool                               { return false }
func (v Ints) widen16([]int16, []byte, int, int, byte, int) bool                        { return false }
func (v Ints) pairs(t *I8Pairs)                                                         { i8PairsGo(t) }
func (v Ints) pack(t *I8Pack)                                                           { i8PackGo(t) }
func (v Ints) unpack(t *I8Unpack)                                                       { i8UnpackGo(t) }
func (v Ints) quantizeRGB([]byte, []float32, int, float32, float32, float32, int32) int { return 0 }
func (v Ints) addPixels(*[16]int32, []byte, int, int, byte) bool                        { return false }

func (v Ints) dw3(t *I8DW3)                                          { i8DW3Go(t) }
func (v Ints) widenPairs([]int16, [2][]byte, [2]int, int, byte) bool { return false }
