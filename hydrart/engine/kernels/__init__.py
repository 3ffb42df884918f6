"""The native backend's kernels: forward.py is the network, isa.py chooses the instruction set, emit.py writes LLVM IR."""
