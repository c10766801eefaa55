package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// group writes an integer with commas between thousands.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if neg {
		s = "−" + s
	}
	return s
}

// bytesShort is a size in B, kB or MB (powers of ten), three digits.
func bytesShort(n float64) string {
	switch {
	case n < 1e3:
		return fmt.Sprintf("%.0f B", n)
	case n < 1e6:
		return digits(n/1e3, 3) + " kB"
	case n < 1e9:
		return digits(n/1e6, 3) + " MB"
	}
	return digits(n/1e9, 3) + " GB"
}

// digits writes x with about n significant digits and no exponent.
func digits(x float64, n int) string {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	d := n - 1 - int(math.Floor(math.Log10(math.Abs(x))))
	return minus(strconv.FormatFloat(x, 'f', min(max(d, 0), 9), 64))
}

func minus(s string) string {
	if strings.HasPrefix(s, "-") {
		if strings.Trim(s, "-0.") == "" {
			return s[1:]
		}
		return "−" + s[1:]
	}
	return s
}

// percent writes a share (0..1).
func percent(x float64) string { return fixed(100*x, 2) + "%" }

// value writes a value of a metric, difference the fall of one.
func value(metric string, x float64) string {
	switch metric {
	case "psnr":
		return fixed(x, 2) + " dB"
	case "cosine":
		return fixed(x, 5)
	}
	return percent(x)
}

func difference(metric string, x float64) string {
	switch metric {
	case "psnr":
		return fixed(x, 3)
	case "cosine":
		return fixed(x, 5)
	}
	return points(x)
}

// unit is what differences of a metric are counted in.
func unit(metric string) string {
	switch metric {
	case "psnr":
		return "dB"
	case "cosine":
		return "of cosine"
	}
	return "points"
}

// decides reports whether the metric counts decisions.
func decides(metric string) bool {
	return metric == "" || metric == "top1" || metric == "top5" || metric == "agreement"
}

// points writes a difference of shares as percentage points.
func points(x float64) string { return fixed(100*x, 2) }

func fixed(x float64, d int) string { return minus(strconv.FormatFloat(x, 'f', d, 64)) }

// ms writes a time in milliseconds: three digits, to a tenth of a microsecond.
func ms(x float64) string {
	if math.Abs(x) < 0.01 {
		return minus(strings.TrimRight(strings.TrimRight(strconv.FormatFloat(x, 'f', 4, 64), "0"), "."))
	}
	return digits(x, 3)
}

func ratio(x float64) string {
	if x >= 100 {
		return fixed(x, 0) + "×"
	}
	return fixed(x, 1) + "×"
}

// tick writes an axis label without trailing zeros.
func tick(x float64) string {
	if math.Abs(x) < 1e-12 {
		return "0"
	}
	return minus(strconv.FormatFloat(x, 'g', 4, 64))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return group(int64(n)) + " " + many
}
