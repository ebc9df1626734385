//! Prints through which proxy each URL is reached, by the rules of the environment.

use httpcore_core_primitives::Origin;
use httpcore_proxy::ProxyRules;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rules = ProxyRules::from_vars(std::env::vars())?;
    for url in std::env::args().skip(1) {
        let origin = Origin::of(&url.parse()?)?;
        match rules.proxy_for(&origin) {
            Some(proxy) => println!("{url}: through {proxy}"),
            None => println!("{url}: directly"),
        }
    }
    Ok(())
}
