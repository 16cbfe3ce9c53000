//! `man`: the manual page of the program or of one command.

use anyhow::Result;

use crate::args::{self, ManArgs};
use crate::failure::usage;
use crate::output::Output;

pub(crate) fn run(args: ManArgs) -> Result<()> {
    let mut program = args::command();
    program.build();
    let page = match &args.command {
        None => program,
        Some(name) => program.find_subcommand(name).cloned().ok_or_else(|| {
            let names = program.get_subcommands().map(clap::Command::get_name);
            let names: Vec<&str> = names.filter(|name| *name != "help").collect();
            let names = names.join(", ");
            usage(format!("man: expected one of {names}, found {name:?}"))
        })?,
    };
    let mut roff = Vec::new();
    clap_mangen::Man::new(page).render(&mut roff)?;
    Output::new().text(&String::from_utf8(roff)?)
}
