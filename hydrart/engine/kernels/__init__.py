"""The native backend's kernels: forward.py is the network, emit.py writes LLVM IR, isa.py chooses for which CPU."""
