#!/bin/bash
# build-selftests.sh: Linux's own x86 selftests (tools/testing/selftests/x86 of Debian's linux-source-6.1), 32- and 64-bit,
# static, in cache/selftests/bin. Prints that folder. Installs what it needs; quick the second time.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

out=$cache/selftests
[ "$(uname -m)" = x86_64 ] || die "the selftests are built by an x86-64 compiler for both its word sizes: this host is $(uname -m)"
"$repo/scripts/install-deps.sh" selftests
tarball=/usr/src/linux-source-6.1.tar.xz
version=$(dpkg-query -W -f='${Version}' linux-source-6.1)
# Nothing to do while the package and this recipe are the same.
stamp="$version $(sha256sum <"$0")"
if [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
  printf '%s\n' "$out/bin"
  exit 0
fi

say "Unpacking the selftests of linux-source-6.1 ($version)"
rm -rf "$out"
mkdir -p "$out/bin" "$out/source"
tests=tools/testing/selftests
tar -x -f "$tarball" -C "$out/source" --strip-components=1 linux-source-6.1/$tests/x86 linux-source-6.1/$tests/kselftest.h \
  linux-source-6.1/arch/x86/include/asm/desc_defs.h
cd "$out/source/$tests/x86"

# The lists of the folder's Makefile. Left out: amx, which needs a unit that no CPU model here has.
both="single_step_syscall sysret_ss_attrs syscall_nt test_mremap_vdso check_initial_reg_state sigreturn iopl ioperm
  test_vsyscall mov_ss_trap sigtrap_loop syscall_arg_fault fsgsbase_restore sigaltstack ldt_gdt ptrace_syscall"
only32="entry_from_vm86 test_syscall_vdso unwind_vdso test_FCMOV test_FCOMI test_FISTTP vdso_restorer"
only64="fsgsbase sysret_rip syscall_numbering corrupt_xstate_header"
# Further sources and options of single tests, as in the Makefile.
declare -A extra=(
  [check_initial_reg_state_32]="-Wl,-ereal_start" [check_initial_reg_state_64]="-Wl,-ereal_start"
  [sysret_ss_attrs_64]=thunks.S [ptrace_syscall_32]=raw_syscall_helper_32.S [test_syscall_vdso_32]=thunks_32.S
)

# gcc-multilib, which has the header folder asm/ for -m32, conflicts with cross compilers; the 64-bit one's is the same.
headers="-I/usr/include/$(gcc-12 -print-multiarch)"
say "Building the selftests"
compile() {
  local name=$1 bits=$2
  # shellcheck disable=SC2086 # options, several in a variable
  gcc-12 "-m$bits" -static -no-pie -O2 -std=gnu99 -pthread -w -DCAN_BUILD_32 -DCAN_BUILD_64 $headers -o "$out/bin/${name}_$bits" \
    "$name.c" ${extra[${name}_$bits]:-} -lrt -ldl -lm >"$out/$name.log" 2>&1 || {
    cat "$out/$name.log" >&2
    die "$name ($bits bits) does not build"
  }
  rm -f "$out/$name.log"
}
for name in $both $only32; do compile "$name" 32; done
for name in $both $only64; do compile "$name" 64; done
strip "$out"/bin/*
printf '%s\n' "$stamp" >"$out/stamp"
printf '%s\n' "$out/bin"
