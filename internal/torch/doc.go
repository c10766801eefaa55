// Package torch reads the tensors of a PyTorch state dict, as torch.save writes it,
// in its form before 1.6 (five pickles, then the storages) and as a zip.
//
//	file ──▶ pickle machine ──▶ dicts of rebuilt tensors ──▶ storages ──▶ []tensor.Named
//
// A pickle is a program. The machine here runs the instructions that make numbers,
// text, tuples, lists and dicts; of functions it knows collections.OrderedDict and
// torch._utils._rebuild_tensor_v2, of classes the storages of plain element types.
// Anything else is refused by its name, and nothing is ever imported or called. Memory
// is bounded by the file's size: text and storages are checked against the bytes that
// there are, and a tensor has at most as many elements as its storage.
package torch
