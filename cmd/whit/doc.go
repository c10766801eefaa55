// Command whit makes trained vision networks small, shows what was lost, and runs them.
//
//	whit demo
//	whit check model.onnx --data images/
//	whit compress model.onnx --data images/ --max-drop 0.5% -o model.whit --report report.html
//
// It holds flags and files only, one file a verb; the work is in the packages.
// whit --help lists the verbs.
package main
