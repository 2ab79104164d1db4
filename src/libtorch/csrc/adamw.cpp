// One fused AdamW step over many parameters. Exceptions end here and come back as a message.
#include <ATen/ATen.h>
#include <cstring>
#include <exception>
