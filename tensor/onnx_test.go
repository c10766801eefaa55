package tensor

import "testing"

func TestONNXCodes(t *testing.T) {
	for d := Bool; d < numDTypes; d++ {
		if got := FromONNX(d.ONNX()); got != d {
			t.Errorf("%v: code %d, back %v", d, d.ONNX(), got)
		}
	}
	for _, code := range []int64{-1, 0, 8, 14, 27, 1 << 40} {
		if d := FromONNX(code); d != Invalid {
			t.Errorf("code %d is %v", code, d)
		}
	}
	if Invalid.ONNX() != 0 {
		t.Error("Invalid has a code")
	}
}
