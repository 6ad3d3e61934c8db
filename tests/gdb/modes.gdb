# From the Multiboot entry through 32-, 16- and 64-bit code to power-off, and back.
target remote SOCKET
info threads
p $pc
stepi
monitor disas $pc 3
# A memory operand by name, before it is written.
watch *(int *) &counter
continue
p *(int *) &counter
p/x $eax
delete
# Real mode: CS has a base, so the linear address is what a breakpoint means.
hbreak *real16
continue
p $cr0
p/x $cs
p/x $cs_base
p/x $rip
monitor disas 0x780f 2
monitor when
delete
break *&real_function
continue
p/x *(short *) &real_word
stepi
p/x $bx
delete
tbreak back32
continue
p $cr0
# Paging is off, and the breakpoint is at an address that is not mapped yet.
tbreak *(0xffff800000000000 + (long) &high)
tbreak compatibility32
continue
p $efer
stepi
p/x $cs
p $efer
p $cs_attr
continue
add-symbol-file ELF -o 0xffff800000000000
monitor translate $rip
p $xmm3.v4_int32
stepi
stepi
p $xmm3.v4_int32
# Conditions are evaluated by the stub.
break work if $edi == 5
continue
p $edi
backtrace 1
finish
delete
# Back in time: the last write of result[5], and the one before.
watch *(int *) (0xffff800000000000 + (long) &total)
continue
reverse-continue
reverse-continue
p *(int *) (0xffff800000000000 + (long) &total)
delete
monitor mark here
monitor last-write $rsi+24 4
# Through interrupts: steps pass over their handlers.
tbreak busy
continue
stepi 60
info symbol $pc
maintenance packet Qqemu.sstep=1
tbreak timer
continue
reverse-stepi
info symbol $pc
tbreak enough
continue
p *(int *) &ticks
stepi 2
info symbol $pc
reverse-stepi 2
info symbol $pc
continue
info symbol $pc
monitor goto here
maintenance flush register-cache
info symbol $pc
continue
continue
reverse-continue
p $pc
kill
