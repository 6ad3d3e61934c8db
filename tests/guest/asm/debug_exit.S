# Writes the number on its command line, behind the kernel's name, to the debug-exit port.
.include "guest.inc"
main:
  mov 16(%ebx), %esi
name:
  lodsb
  test %al, %al
  jz no_number
  cmp $' ', %al
  jne name
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
no_number:
  xor %eax, %eax
done:
  exit_with %eax
