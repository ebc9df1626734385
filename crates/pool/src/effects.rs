//! A short list without allocations: what one step of the machine, or of the pool, leaves to be done.

use std::{iter, vec};

/// A list whose first two items are kept inline. One step of a pool usually yields none or one.
#[derive(Debug)]
pub struct Few<T> {
    first: Option<T>,
    second: Option<T>,
    rest: Vec<T>,
}

impl<T> Few<T> {
    /// An empty list.
    pub const fn new() -> Self {
        Few {
            first: None,
            second: None,
            rest: Vec::new(),
        }
    }

    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Appends `item`.
    #[inline(always)]
    pub fn push(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
        } else if self.second.is_none() {
            self.second = Some(item);
        } else {
            self.rest.push(item);
        }
    }

    /// Takes the only item, if there is exactly one and `suits` says so.
    #[inline]
    pub(crate) fn take_only(&mut self, suits: impl FnOnce(&T) -> bool) -> Option<T> {
        match &self.first {
            Some(item) if self.second.is_none() && suits(item) => self.first.take(),
            _ => None,
        }
    }
}

impl<T> Few<T> {
    /// Calls `take` with each item, in order. Unlike an iterator over three parts, this keeps no state.
    #[inline]
    pub(crate) fn for_each(self, mut take: impl FnMut(T)) {
        if let Some(first) = self.first {
            take(first);
        }
        if let Some(second) = self.second {
            take(second);
        }
        if !self.rest.is_empty() {
            self.rest.into_iter().for_each(take);
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Few::new()
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = iter::Chain<
        iter::Chain<std::option::IntoIter<T>, std::option::IntoIter<T>>,
        vec::IntoIter<T>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.second).chain(self.rest)
    }
}
