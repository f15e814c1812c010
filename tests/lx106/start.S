/* From reset to C. The emulated CPU starts at 0x50000000 whatever the ELF file says; a fault must end the run (F35). */

	.section .reset, "ax"
	.global _start
	j begin
	.align 4
	.literal_position
_start:
begin:
	movi a1, stack_top
	movi a0, run
	jx a0

/* One stub for each vector: exit code 70, so that QEMU does not run through empty memory for ever. */
	.macro stub
	movi a2, 1
	movi a3, 70
	simcall
1:	j 1b
	.endm

	.section .vectors, "ax"
	stub /* 0x40000030: exception in kernel mode */
	.org 0x20
	stub /* 0x40000050: exception in user mode */
	.org 0x40
	stub /* 0x40000070: exception within an exception */

	.text
	.align 4
	.global simcall
	.type simcall, @function
/* int simcall(int number, int a, int b, int c): the simulator takes a2 to a5 and answers in a2, as the ABI does. */
simcall:
	simcall
	ret
	.size simcall, . - simcall
