# Writes the number on its command line to the debug-exit port.
.include "guest.inc"
main:
  mov 16(%ebx), %esi
  xor %eax, %eax
  xor %ecx, %ecx
digits:
  movb (%esi), %cl
  sub $'0', %ecx
  cmp $9, %ecx
  ja done
  imul $10, %eax
  add %ecx, %eax
  inc %esi
  jmp digits
done:
  exit_with %eax
