/* Ask a SavedModel through the C API: predict MODEL_DIR INPUT OUTPUT FILE... prints the
 * probabilities of each file, a line a file. INPUT and OUTPUT are tensors, such as name:0. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensorflow/c/c_api.h>
#include <tensorflow/c/tf_tstring.h>

static void check(TF_Status* status, const char* what) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%s: %s\n", what, TF_Message(status));
    exit(1);
  }
}

static void read_into(const char* path, TF_TString* string) {
  FILE* file = fopen(path, "rb");
  if (!file) { perror(path); exit(1); }
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  char* bytes = malloc(size);
  if (fread(bytes, 1, size, file) != (size_t)size) { perror(path); exit(1); }
  fclose(file);
  TF_TString_Init(string);
  TF_TString_Copy(string, bytes, size);
  free(bytes);
}

static TF_Output find(TF_Graph* graph, const char* tensor) {
  char name[256];
  int index = 0;
  snprintf(name, sizeof name, "%s", tensor);
  char* colon = strrchr(name, ':');
  if (colon) { *colon = 0; index = atoi(colon + 1); }
  TF_Output found = {TF_GraphOperationByName(graph, name), index};
  if (!found.oper) { fprintf(stderr, "no tensor %s\n", tensor); exit(1); }
  return found;
}

int main(int argc, char** argv) {
  if (argc < 5) { fprintf(stderr, "predict MODEL_DIR INPUT OUTPUT FILE...\n"); return 2; }
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, "load");

  int64_t count = argc - 4;
  TF_Tensor* raw = TF_AllocateTensor(TF_STRING, &count, 1, count * sizeof(TF_TString));
  TF_TString* strings = TF_TensorData(raw);
  for (int64_t i = 0; i < count; i++) read_into(argv[i + 4], &strings[i]);

  TF_Output input = find(graph, argv[2]);
  TF_Output output = find(graph, argv[3]);
  TF_Tensor* result = NULL;
  TF_SessionRun(session, NULL, &input, &raw, 1, &output, &result, 1, NULL, 0, NULL, status);
  check(status, "run");

  const float* p = TF_TensorData(result);
  int64_t classes = TF_Dim(result, 1);
  for (int64_t i = 0; i < count; i++) {
    for (int64_t c = 0; c < classes; c++) printf("%.8f ", p[i * classes + c]);
    printf("\n");
  }
  return 0;
}
