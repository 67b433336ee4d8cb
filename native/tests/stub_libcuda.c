/* A libcuda.so.1 without a GPU: it writes what it is asked to do to the file that STUB_LOG names, a line a call, and
 * fails the call that STUB_FAIL names.
 *
 * An image is text: "entry=NAME sizes=8,8,4", the sizes of the kernel's parameters, from which a launch reads. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  char name[128];
  size_t sizes[80];
  size_t count;
} Kernel;

typedef struct {
  int id, pad, value;
  char rest[60];
} Attribute;

typedef struct {
  unsigned grid[3], block[3], shared;
  void* stream;
  Attribute* attributes;
  unsigned count;
} Config;

enum { kFine = 0, kInvalidValue = 1, kNoContext = 201, kNotFound = 500, kUnknown = 999 };

static void say(const char* format, ...) {
  const char* file = getenv("STUB_LOG");
  FILE* log = file ? fopen(file, "a") : NULL;
  if (!log) return;
  va_list arguments;
  va_start(arguments, format);
  vfprintf(log, format, arguments);
  va_end(arguments);
  fclose(log);
}

static int fails(const char* call) {
  const char* named = getenv("STUB_FAIL");
  return named && strcmp(named, call) == 0;
}

int cuGetErrorName(int result, const char** name) {
  *name = result == kUnknown ? "CUDA_ERROR_UNKNOWN" : result == kNotFound ? "CUDA_ERROR_NOT_FOUND" : NULL;
  return *name ? kFine : kInvalidValue;
}

int cuGetErrorString(int result, const char** words) {
  *words = result == kUnknown ? "unknown error" : NULL;
  return *words ? kFine : kInvalidValue;
}

int cuCtxGetId(void* context, unsigned long long* id) {
  const char* current = getenv("STUB_CONTEXT");
  *id = current ? strtoull(current, NULL, 10) : 7;
  return fails("cuCtxGetId") || context ? kNoContext : kFine;
}

int cuModuleLoadData(void** module, const void* image) {
  if (fails("cuModuleLoadData")) return kUnknown;
  Kernel* kernel = calloc(1, sizeof *kernel);
  char sizes[512] = "";
  if (sscanf(image, "entry=%127s sizes=%511s", kernel->name, sizes) < 1) return kInvalidValue;
  for (char* word = strtok(sizes, ","); word; word = strtok(NULL, ",")) kernel->sizes[kernel->count++] = strtoul(word, NULL, 10);
  *module = kernel;
  say("load %s\n", kernel->name);
  return kFine;
}

int cuModuleGetFunction(void** function, void* module, const char* name) {
  if (fails("cuModuleGetFunction")) return kUnknown;
  *function = module;
  return strcmp(name, ((Kernel*)module)->name) ? kNotFound : kFine;
}

int cuFuncSetAttribute(Kernel* function, int attribute, int value) {
  if (fails("cuFuncSetAttribute")) return kUnknown;
  say("attribute %s %d %d\n", function->name, attribute, value);
  return kFine;
}

int cuFuncLoad(Kernel* function) {
  (void)function;
  return fails("cuFuncLoad") ? kUnknown : kFine;
}

int cuFuncGetParamInfo(Kernel* function, size_t index, size_t* offset, size_t* size) {
  if (fails("cuFuncGetParamInfo")) return kUnknown;
  if (index >= function->count) return kInvalidValue;
  *offset = 0;
  *size = function->sizes[index];
  return kFine;
}

/* One line, written at once: several threads launch. */
static void say_launch(const char* call, const Kernel* function, const Config* config, void** arguments) {
  char attributes[256] = "", values[2048] = "";
  for (unsigned i = 0; i < config->count; ++i)
    sprintf(attributes + strlen(attributes), " launch_attribute=%d:%d", config->attributes[i].id,
            config->attributes[i].value);
  for (size_t i = 0; i < function->count; ++i) {
    uint64_t value = 0;
    memcpy(&value, arguments[i], function->sizes[i]);
    sprintf(values + strlen(values), "%s%llu", i ? "," : "", (unsigned long long)value);
  }
  say("%s %s grid=%u,%u,%u block=%u,%u,%u shared=%u stream=%p%s arguments=%s\n", call, function->name, config->grid[0],
      config->grid[1], config->grid[2], config->block[0], config->block[1], config->block[2], config->shared,
      config->stream, attributes, values);
}

int cuLaunchKernel(Kernel* function, unsigned x, unsigned y, unsigned z, unsigned block_x, unsigned block_y,
                   unsigned block_z, unsigned shared, void* stream, void** arguments, void** extra) {
  if (fails("cuLaunchKernel") || extra) return kUnknown;
  const Config config = {{x, y, z}, {block_x, block_y, block_z}, shared, stream, NULL, 0};
  say_launch("cuLaunchKernel", function, &config, arguments);
  return kFine;
}

int cuLaunchKernelEx(const Config* config, Kernel* function, void** arguments, void** extra) {
  if (fails("cuLaunchKernelEx") || extra) return kUnknown;
  say_launch("cuLaunchKernelEx", function, config, arguments);
  return kFine;
}
