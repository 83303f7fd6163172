//go:build linux

#include "textflag.h"

// A record is sixteen words; the offsets are those of the type record.
// The first record is the header: 0 first record, 8 failure record,
// 24 the record that failed, 32 its error number.

// func interpreter() unsafe.Pointer
TEXT ·interpreter(SB), NOSPLIT, $0-8
	LEAQ	interpret<>(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

// Runs alone in a process of its own: no stack, no Go runtime, only registers
// that survive a system call (R12, R13, R15).
TEXT interpret<>(SB), NOSPLIT|NOFRAME, $0
	MOVL	$0x10000000, R15 // recordBase
	MOVQ	0(R15), R12
next:
	MOVQ	0(R12), AX
	MOVQ	8(R12), DI
	MOVQ	16(R12), SI
	MOVQ	24(R12), DX
	MOVQ	32(R12), R10
	MOVQ	40(R12), R8
	MOVQ	48(R12), R9
	SYSCALL
	MOVQ	56(R12), R13
	MOVQ	AX, 0(R13)
	CMPQ	AX, $-4095
	JCC	failed
	CMPQ	AX, 72(R12)
	JEQ	first
	CMPQ	AX, 88(R12)
	JEQ	second
	MOVQ	64(R12), R12
	JMP	next
first:
	MOVQ	80(R12), R12
	JMP	next
second:
	MOVQ	96(R12), R12
	JMP	next
failed:
	MOVQ	104(R12), R13
	TESTQ	R13, R13
	JEQ	fatal
	MOVQ	R13, R12
	JMP	next
fatal:
	NEGQ	AX
	MOVQ	R12, 24(R15)
	MOVQ	AX, 32(R15)
	MOVQ	8(R15), R12
	JMP	next
	// The end mark, see endMark.
	LONG	$0x48454144
	LONG	$0x47415445
