//! Compiled templates that count what they do. In compiled code an operator that walks through values, or makes bigger ones, becomes a
//! call of a function of its own name, which no template can write; where an instruction leaves no room for that, a call that only counts
//! comes before it. What the functions do is the business of `functions`.

use super::budget::Budget;
use super::functions::{COUNT, KEEP, REFUSE};
use minijinja::machinery::{Instruction, Instructions};

/// The code of `code` that counts.
pub(super) fn guarded<'a>(code: &Instructions<'a>) -> Instructions<'a> {
    let instructions: Vec<&Instruction<'a>> = (0..code.len()).map_while(|at| code.get(at as u32)).collect();
    let mut places: Vec<u32> = Vec::with_capacity(instructions.len() + 1);
    let mut next = 0;
    for instruction in &instructions {
        places.push(next);
        next += before(instruction).len() as u32 + 1;
    }
    places.push(next);
    let mut made = Instructions::new(code.name(), code.source());
    for (at, instruction) in instructions.into_iter().enumerate() {
        let mut instruction = instruction.clone();
        let counting = before(&instruction);
        replace(&mut instruction);
        redirect(&mut instruction, &places);
        for instruction in counting.into_iter().chain([instruction]) {
            match (code.get_span(at as u32), code.get_line(at as u32)) {
                (Some(span), _) => made.add_with_span(instruction, span),
                (None, Some(line)) => made.add_with_line(instruction, u16::try_from(line).unwrap_or(u16::MAX)),
                (None, None) => made.add(instruction),
            };
        }
    }
    made
}

/// How many instructions `code` may take.
pub(super) fn fuel(code: &Instructions<'_>, budget: &Budget) -> u64 {
    let length = |instruction: &Instruction<'_>| match instruction {
        Instruction::EmitRaw(text) => text.len() as u64,
        _ => 0,
    };
    let longest = (0..code.len()).filter_map(|at| code.get(at as u32)).map(length).max();
    budget.instructions(longest.unwrap_or_default())
}

/// Makes an operator a call.
fn replace(instruction: &mut Instruction<'_>) {
    let (name, count) = match instruction {
        Instruction::Add => ("+", 2),
        Instruction::Mul => ("*", 2),
        Instruction::StringConcat => ("~", 2),
        Instruction::Eq => ("==", 2),
        Instruction::Ne => ("!=", 2),
        Instruction::Lt => ("<", 2),
        Instruction::Lte => ("<=", 2),
        Instruction::Gt => (">", 2),
        Instruction::Gte => (">=", 2),
        Instruction::In => ("(in)", 2),
        Instruction::Slice => ("[:]", 4),
        Instruction::BuildList(Some(count)) => ("[]", *count),
        Instruction::BuildMap(count) => ("{}", 2 * *count),
        Instruction::UnpackLists(count) | Instruction::MergeKwargs(count) => (REFUSE, *count),
        Instruction::CallMethod("changed", count) if *count != Some(2) => (REFUSE, count.map_or(1, usize::from)),
        _ => return,
    };
    // Tags are far too short for more.
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    *instruction = Instruction::CallFunction(name, Some(count));
}

/// What counts values that an instruction takes from the stack without a call.
fn before(instruction: &Instruction<'_>) -> Vec<Instruction<'static>> {
    let call = |name| [Instruction::DupTop, Instruction::CallFunction(name, Some(1)), Instruction::DiscardTop];
    let below = |name| [vec![Instruction::Swap], call(name).into(), vec![Instruction::Swap]].concat();
    match instruction {
        Instruction::GetItem => call(COUNT).into(),
        Instruction::CompareAndPreserve(_) => [below(COUNT), call(COUNT).into()].concat(),
        Instruction::SetAttr(_) => below(KEEP),
        Instruction::CallMethod("changed", Some(2)) => call(KEEP).into(),
        _ => Vec::new(),
    }
}

/// Sends jumps where their targets are now.
fn redirect(instruction: &mut Instruction<'_>, places: &[u32]) {
    if let Instruction::Iterate(target)
    | Instruction::Jump(target)
    | Instruction::JumpIfFalse(target)
    | Instruction::JumpIfFalseOrPop(target)
    | Instruction::JumpIfTrueOrPop(target)
    | Instruction::BuildMacro(_, target, _) = instruction
    {
        *target = places.get(*target as usize).copied().unwrap_or(*target);
    }
}
