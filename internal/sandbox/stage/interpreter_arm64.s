//go:build linux

#include "textflag.h"

// A record is sixteen words; the offsets are those of the type record.
// The first record is the header: 0 first record, 8 failure record,
// 24 the record that failed, 32 its error number.

// func interpreter() unsafe.Pointer
TEXT ·interpreter(SB), NOSPLIT, $0-8
	MOVD	$interpret<>(SB), R0
	MOVD	R0, ret+0(FP)
	RET

// Runs alone in a process of its own: no stack, no Go runtime, only registers
// that survive a system call.
TEXT interpret<>(SB), NOSPLIT|NOFRAME, $0
	MOVD	$0x10000000, R19 // recordBase
	MOVD	0(R19), R20
next:
	MOVD	0(R20), R8
	MOVD	8(R20), R0
	MOVD	16(R20), R1
	MOVD	24(R20), R2
	MOVD	32(R20), R3
	MOVD	40(R20), R4
	MOVD	48(R20), R5
	SVC
	MOVD	56(R20), R21
	MOVD	R0, 0(R21)
	CMN	$4095, R0
	BHS	failed
	MOVD	72(R20), R21
	CMP	R21, R0
	BEQ	first
	MOVD	88(R20), R21
	CMP	R21, R0
	BEQ	second
	MOVD	64(R20), R20
	B	next
first:
	MOVD	80(R20), R20
	B	next
second:
	MOVD	96(R20), R20
	B	next
failed:
	MOVD	104(R20), R21
	CBZ	R21, fatal
	MOVD	R21, R20
	B	next
fatal:
	NEG	R0, R0
	MOVD	R20, 24(R19)
	MOVD	R0, 32(R19)
	MOVD	8(R19), R20
	B	next
	// The end mark, see endMark.
	WORD	$0x48454144
	WORD	$0x47415445
