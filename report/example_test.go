package report_test

import (
	"fmt"
	"os"
	"strings"

	"whit/compress"
	"whit/report"
)

func Example() {
	r := &compress.Result{Schema: compress.Schema, Model: "model.onnx", Output: "model.whit", Verdict: "model.onnx is a tenth of its size."}
	var page strings.Builder
	if err := report.HTML(&page, r, report.Options{}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.Contains(page.String(), r.Verdict), strings.Contains(page.String(), "<script"))

	r.Stages = []compress.Stage{{Name: "dense", Bytes: 1000, Ratio: 1, Kept: 1}, {Name: "pruned", Bytes: 250, Ratio: 4, Kept: 0.2}}
	if err := report.StageTable(os.Stdout, r); err != nil {
		fmt.Println(err)
	}
	// Output:
	// true false
	// stage   bytes  ratio    kept
	// ──────  ─────  ─────  ──────
	// dense   1,000   1.0×  100.0%
	// pruned    250   4.0×   20.0%
}
