// A folder of weights rearranged for ONNX Runtime's kernels: made by one opening, mapped by later ones.
#pragma once
#include <functional>
#include <string>

#include "bundle.h"
#include "ort.h"

namespace g4::rt {

// Calls `open` with the file to open in place of the graph `graph` of `bundle`: found whole in the folder `cache`, or made
// there. An entry belongs to one graph, one ONNX Runtime and one processor; one that is damaged, or that others than this
// user can write to, is made again; those of the same graph for another ONNX Runtime or processor are deleted, and what a
// kill left. Nothing else in the folder is touched. One call at a time works in it, of all processes, until `open` returns.
// Throws Failure: G4RT_MACHINE where the folder cannot be written, G4RT_BAD_ARGUMENT where others than this user can write
// to it, G4RT_UNSUPPORTED on Windows, and what `open` throws.
void with_prepacked(const Ort& ort, const Bundle& bundle, const std::string& graph, const std::string& cache,
                    const std::function<void(const std::string& file)>& open);

}  // namespace g4::rt
