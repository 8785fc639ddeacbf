#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tools/isa-loop.awk: what it counts in listings of the three makers.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
count() { awk -f "$source/tools/isa-loop.awk" "$1"; }

# Two branches back to one label: the loop ends at the last; the loop before it has fewer matrix instructions.
cat >amd.s <<'END'
f:
	v_mov_b32_e32 v0, v1
.LBB0_1:                                ; =>This Inner Loop Header: Depth=1
	v_wmma_f32_16x16x16_bf16 v[0:7], v[8:15], v[16:23], v[0:7]
	s_cbranch_scc1 .LBB0_1
.LBB0_10:
	; a comment, .LBB0_1:
	v_wmma_f32_16x16x16_bf16 v[0:7], v[8:15], v[16:23], v[0:7]
	v_wmma_f32_16x16x16_bf16 v[0:7], v[8:15], v[16:23], v[0:7]
	ds_load_b128 v[89:92], v66
	ds_read2_b32 v[3:4], v1 offset1:12
	s_cbranch_vccnz .LBB0_10
	v_add_f32_e32 v1, v2, v3
	ds_store_2addr_b32 v6, v10, v9 offset1:12
	ds_write_b64 v6, v[10:11]
	s_branch .LBB0_10
	s_endpgm
END
equal AMD "$(count amd.s)" "2 9 24 16 1"
cat >nvidia.sass <<'END'
.L_x_4:
        /*0010*/                   LDS R98, [R98+0x1800] ;
        /*0020*/                   LDS.128 R64, [R11] ;
        /*0030*/                   LDS.U16 R64, [R11] ;
        /*0040*/                   HMMA.16816.F32.BF16 R16, R88.reuse, R98, R16 ;
        /*0050*/               @P0 BRA `(.L_x_3) ;
        /*0060*/                   STS.64 [R86], R84 ;
.L_x_3:
        /*0070*/               @P6 BRA `(.L_x_4) ;
        /*0080*/                   STS [R97], R64 ;
.L_x_44:
        /*0090*/                   EXIT ;
END
equal NVIDIA "$(count nvidia.sass)" "1 7 22 8 0"
cat >intel.asm <<'END'
L6008:
        send.slm (16|M0)         r8       r12     null:0  0x0            0x02403500           {$1} // wr:1+0, rd:4; load.slm.d32x4.a32
        send.slm (8|M0)          r24      r24     null:0  0x0            0x02100B00           {$2} // wr:1+0, rd:1; load.slm.d16u32.a32
        dpas.8x8 (16|M0)         r32:f         r32:f             r16:bf            r28.0:bf         {Compacted}
        send.slm (16|M0)         null     r10     r8:2    0x0            0x02001504           {$3} // wr:1+2, rd:0; store.slm.d32x2.a32
(W)     jmpi                                 L6008
END
equal Intel "$(count intel.asm)" "1 5 272 128 0"
: >none
equal nothing "$(count none)" ""
finish
