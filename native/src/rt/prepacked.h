// A folder of weights rearranged for ONNX Runtime's kernels: made by one opening, mapped by later ones.
#pragma once
#include <string>

#include "bundle.h"
#include "ort.h"

namespace g4::rt {

// The file to open in place of the graph `graph` of `bundle`: found whole in the folder `cache`, or made there. An entry
// belongs to one graph, one ONNX Runtime and one processor; one that is damaged is made again; those of the same graph for
// another ONNX Runtime or processor are deleted, and what a kill left. Nothing else in the folder is touched. One call at a
// time works in it, of all processes. Throws Failure: G4RT_MACHINE where the folder cannot be written, G4RT_BAD_ARGUMENT
// where others than this user can write to it, G4RT_UNSUPPORTED on Windows.
std::string prepacked(const Ort& ort, const Bundle& bundle, const std::string& graph, const std::string& cache);

}  // namespace g4::rt
