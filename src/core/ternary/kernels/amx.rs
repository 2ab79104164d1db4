//! AMX: tiles of 16 tokens x 64 codes times tiles of 64 codes x 16 rows, four sums of 16 x 16 at a time. Prompts only; a token or a few
//! are AVX-512's.
//!
//! The instructions are written out, since stable Rust has no functions for them. No other code of this library uses tiles; libtorch's does,
//! so the configuration that is found is put back.

use super::avx512::{self, quantize_row};
use super::implementation::Implementation;
use super::panel::{self, Panel, Row, Sums};
use super::product::Share;
use crate::ternary::int8_rows::{Line, MANY, TILE};
use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::OnceLock;

pub(super) const IMPLEMENTATION: Implementation = Implementation { name: "amx", is_usable, quantize_row, multiply };

/// Whether the processor has tiles and the system lets this process use them.
fn is_usable() -> bool {
    static IS_USABLE: OnceLock<bool> = OnceLock::new();
    *IS_USABLE.get_or_init(|| avx512::is_usable() && has_tiles() && is_permitted())
}

/// CPUID leaf 7: AMX-TILE and AMX-INT8 are bits 24 and 25 of EDX.
#[allow(unused_unsafe)] // The functions are unsafe in Rust 1.89.
fn has_tiles() -> bool {
    const WANTED: u32 = 1 << 24 | 1 << 25;
    // SAFETY: every processor of this architecture has the instruction.
    unsafe { __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & WANTED == WANTED }
}

/// Asks Linux for the state of tiles, which a process has not from the start.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_PRCTL: usize = 158;
    const REQUEST_PERMISSION: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let mut status = ARCH_PRCTL;
    // SAFETY: a system call with two numbers, which writes no memory; it changes the registers that are listed.
    unsafe {
        asm!("syscall", inout("rax") status, in("rdi") REQUEST_PERMISSION, in("rsi") TILE_DATA, out("rcx") _, out("r11") _,
             options(nostack));
    }
    status == 0
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// See [`Implementation::multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn multiply(mut share: Share) {
    let tokens = share.activations().tokens();
    if tokens < MANY {
        return avx512::multiply(share);
    }
    let _tiles = Tiles::configure();
    panel::multiply(&mut share, |panel, sums| {
        for (first, sums) in (0..panel.num_tokens).step_by(2 * TILE).zip(sums.as_chunks_mut().0) {
            multiply_tiles(panel, first, sums);
        }
    });
}

/// Adds a panel times 32 of its tokens from `first` on; those that do not exist have sums of no meaning.
fn multiply_tiles(panel: &Panel, first: usize, sums: &mut [Sums; 2 * TILE]) {
    let steps = panel.rows.len();
    let (upper, lower) = (panel.lines_from(first), panel.lines_from(first + TILE));
    assert!(steps > 0 && upper.len().min(lower.len()) >= steps * TILE, "tokens are as wide as weights");
    // SAFETY: tiles 0 to 7 are configured as 16 rows of 64 bytes. For each of the steps, tiles 4 and 5 are the next 16 lines of the upper
    // and of the lower tokens, which were just counted, tiles 6 and 7 the halves of the next 16 rows of the panel. Tiles 0 to 3 are the
    // quarters of 32 tokens' sums of 32 numbers. The compiler keeps nothing in tiles.
    unsafe {
        asm!(
            "test {is_first:e}, {is_first:e}",
            "jz 3f",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "jmp 2f",
            "3:",
            "tileloadd tmm0, [{sums} + {row}*1]",
            "tileloadd tmm1, [{sums} + {row}*1 + 64]",
            "tileloadd tmm2, [{sums} + {row}*1 + 2048]",
            "tileloadd tmm3, [{sums} + {row}*1 + 2112]",
            "2:",
            "tileloadd tmm4, [{upper} + {line}*1]",
            "tileloadd tmm6, [{panel} + {row}*1]",
            "tileloadd tmm7, [{panel} + {row}*1 + 64]",
            "tileloadd tmm5, [{lower} + {line}*1]",
            "tdpbsud tmm0, tmm4, tmm6",
            "tdpbsud tmm1, tmm4, tmm7",
            "tdpbsud tmm2, tmm5, tmm6",
            "tdpbsud tmm3, tmm5, tmm7",
            "add {upper}, 1024",
            "add {lower}, 1024",
            "add {panel}, 2048",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {row}*1], tmm0",
            "tilestored [{sums} + {row}*1 + 64], tmm1",
            "tilestored [{sums} + {row}*1 + 2048], tmm2",
            "tilestored [{sums} + {row}*1 + 2112], tmm3",
            is_first = in(reg) u32::from(panel.is_first),
            upper = inout(reg) upper.as_ptr() => _,
            lower = inout(reg) lower.as_ptr() => _,
            panel = inout(reg) panel.rows.as_ptr() => _,
            steps = inout(reg) steps => _,
            line = in(reg) size_of::<Line>(),
            row = in(reg) size_of::<Row>(),
            sums = in(reg) sums.as_mut_ptr(),
            options(nostack),
        );
    }
}

/// The operand of the instructions that load and store the configuration.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configuration {
    const RELEASED: Self = Self { palette: 0, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };

    /// Tiles 0 to 7 of 16 rows of 64 bytes.
    const WHOLE: Self = {
        let mut whole = Self { palette: 1, ..Self::RELEASED };
        let mut tile = 0;
        while tile < 8 {
            (whole.row_bytes[tile], whole.rows[tile]) = (64, 16);
            tile += 1;
        }
        whole
    };
}

/// Tiles of this thread, configured as long as this lives.
struct Tiles {
    found: Configuration,
}

impl Tiles {
    #[target_feature(enable = "avx512f")]
    fn configure() -> Self {
        let mut found = Configuration::RELEASED;
        // SAFETY: the instructions write and read 64 bytes; the processor has them, since this kernel is usable.
        unsafe {
            asm!("sttilecfg [{}]", in(reg) &mut found, options(nostack));
            asm!("ldtilecfg [{}]", in(reg) &Configuration::WHOLE, options(nostack));
        }
        Self { found }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: as in `configure`; what is loaded was stored there. A configuration with palette 0 releases the tiles.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &self.found, options(nostack)) };
    }
}
