//! Slots with generations, and lists that run through them.
//!
//! What the machine keeps stands in an [`Arena`] and is named by a [`Key`], which goes stale when
//! its slot is emptied. Queues and orders are [`List`]s of links inside the slots: joining, leaving
//! and moving on cost the same at any length, and allocate nothing.

use std::{
    fmt,
    marker::PhantomData,
    ops::{Index, IndexMut},
};

use slab::Slab;

/// Names a slot, until it is emptied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    index: u32,
    stamp: u32,
}

impl Key {
    const NONE: Key = Key {
        index: u32::MAX,
        stamp: 0,
    };

    pub(crate) fn index(self) -> usize {
        self.index as usize
    }

    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.stamp) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Key {
            index: bits as u32,
            stamp: (bits >> 32) as u32,
        }
    }

    fn some(self) -> Option<Key> {
        (self.index != Key::NONE.index).then_some(self)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.stamp)
    }
}

/// How many slots a table keeps when it is empty. A burst of more is given back.
pub(crate) const KEPT_SLOTS: usize = 1024;

pub(crate) struct Arena<T> {
    slots: Slab<Slot<T>>,
    /// The stamp of the next slot to be filled. It wraps after 2^32 insertions; a key
    /// that old has long been settled.
    stamp: u32,
}

struct Slot<T> {
    stamp: u32,
    value: T,
}

impl<T> Arena<T> {
    pub(crate) const fn new() -> Self {
        Arena {
            slots: Slab::new(),
            stamp: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> Key {
        let stamp = self.stamp;
        self.stamp = stamp.wrapping_add(1);
        let index = self.slots.insert(Slot { stamp, value });
        Key {
            index: u32::try_from(index).expect("fewer than 2^32 slots: each takes tens of bytes"),
            stamp,
        }
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.index()) {
            Some(slot) if slot.stamp == key.stamp => Some(&slot.value),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index()) {
            Some(slot) if slot.stamp == key.stamp => Some(&mut slot.value),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let slot = self.slots.remove(key.index());
        if self.slots.capacity() > KEPT_SLOTS && self.slots.is_empty() {
            self.slots = Slab::new();
        }
        Some(slot.value)
    }

    /// Gives back the memory of a burst, as far as no slot in use is behind it.
    pub(crate) fn shrink(&mut self) {
        if self.slots.capacity() > 4 * self.slots.len().max(KEPT_SLOTS) {
            self.slots.shrink_to_fit();
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().map(|(index, slot)| {
            let key = Key {
                index: index as u32,
                stamp: slot.stamp,
            };
            (key, &slot.value)
        })
    }
}

impl<T> Index<Key> for Arena<T> {
    type Output = T;

    #[inline]
    fn index(&self, key: Key) -> &T {
        self.get(key).expect("the key was checked, or is linked")
    }
}

impl<T> IndexMut<Key> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, key: Key) -> &mut T {
        self.get_mut(key)
            .expect("the key was checked, or is linked")
    }
}

/// One slot's place in one list.
#[derive(Clone, Copy)]
pub(crate) struct Links {
    previous: Key,
    next: Key,
    linked: bool,
}

impl Links {
    pub(crate) const LOOSE: Links = Links {
        previous: Key::NONE,
        next: Key::NONE,
        linked: false,
    };

    pub(crate) fn is_linked(&self) -> bool {
        self.linked
    }

    pub(crate) fn next(&self) -> Option<Key> {
        self.next.some()
    }
}

/// Which of the links of a `T` a list runs through.
pub(crate) trait Chain<T> {
    fn links(item: &T) -> &Links;
    fn links_mut(item: &mut T) -> &mut Links;
}

/// A doubly linked list through the slots of one arena.
pub(crate) struct List<C> {
    front: Key,
    back: Key,
    len: usize,
    chain: PhantomData<fn() -> C>,
}

impl<C> List<C> {
    pub(crate) const fn new() -> Self {
        List {
            front: Key::NONE,
            back: Key::NONE,
            len: 0,
            chain: PhantomData,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn front(&self) -> Option<Key> {
        self.front.some()
    }

    pub(crate) fn back(&self) -> Option<Key> {
        self.back.some()
    }

    #[inline]
    pub(crate) fn push_back<T>(&mut self, arena: &mut Arena<T>, key: Key)
    where
        C: Chain<T>,
    {
        let links = C::links_mut(&mut arena[key]);
        debug_assert!(!links.linked, "in a list already");
        *links = Links {
            previous: self.back,
            next: Key::NONE,
            linked: true,
        };
        match self.back.some() {
            Some(back) => C::links_mut(&mut arena[back]).next = key,
            None => self.front = key,
        }
        self.back = key;
        self.len += 1;
    }

    #[inline]
    pub(crate) fn push_front<T>(&mut self, arena: &mut Arena<T>, key: Key)
    where
        C: Chain<T>,
    {
        let links = C::links_mut(&mut arena[key]);
        debug_assert!(!links.linked, "in a list already");
        *links = Links {
            previous: Key::NONE,
            next: self.front,
            linked: true,
        };
        match self.front.some() {
            Some(front) => C::links_mut(&mut arena[front]).previous = key,
            None => self.back = key,
        }
        self.front = key;
        self.len += 1;
    }

    /// Puts `key` before `next`, which is in this list.
    pub(crate) fn insert_before<T>(&mut self, arena: &mut Arena<T>, key: Key, next: Key)
    where
        C: Chain<T>,
    {
        let previous = C::links(&arena[next]).previous;
        if previous.some().is_none() {
            return self.push_front(arena, key);
        }
        let links = C::links_mut(&mut arena[key]);
        debug_assert!(!links.linked, "in a list already");
        *links = Links {
            previous,
            next,
            linked: true,
        };
        C::links_mut(&mut arena[previous]).next = key;
        C::links_mut(&mut arena[next]).previous = key;
        self.len += 1;
    }

    /// Takes `key` out, if it is in this list. (It must not be in another of the same chain.)
    #[inline]
    pub(crate) fn remove<T>(&mut self, arena: &mut Arena<T>, key: Key) -> bool
    where
        C: Chain<T>,
    {
        let links = std::mem::replace(C::links_mut(&mut arena[key]), Links::LOOSE);
        if !links.linked {
            return false;
        }
        match links.previous.some() {
            Some(previous) => C::links_mut(&mut arena[previous]).next = links.next,
            None => self.front = links.next,
        }
        match links.next.some() {
            Some(next) => C::links_mut(&mut arena[next]).previous = links.previous,
            None => self.back = links.previous,
        }
        self.len -= 1;
        true
    }

    pub(crate) fn pop_front<T>(&mut self, arena: &mut Arena<T>) -> Option<Key>
    where
        C: Chain<T>,
    {
        let key = self.front()?;
        self.remove(arena, key);
        Some(key)
    }

    /// From front to back.
    pub(crate) fn iter<'a, T>(&self, arena: &'a Arena<T>) -> impl Iterator<Item = Key> + 'a
    where
        C: Chain<T>,
    {
        std::iter::successors(self.front(), |&key| C::links(&arena[key]).next.some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bead(Links);
    struct String;
    impl Chain<Bead> for String {
        fn links(bead: &Bead) -> &Links {
            &bead.0
        }
        fn links_mut(bead: &mut Bead) -> &mut Links {
            &mut bead.0
        }
    }

    #[test]
    fn a_key_goes_stale_with_its_slot() {
        let mut arena = Arena::new();
        let first = arena.insert('a');
        assert_eq!(arena.remove(first), Some('a'));
        let second = arena.insert('b');
        assert_eq!(first.index(), second.index());
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(Key::from_bits(second.to_bits())), Some(&'b'));
    }

    #[test]
    fn a_list_keeps_its_order_whatever_leaves_it() {
        let mut arena = Arena::new();
        let mut list = List::<String>::new();
        let keys: Vec<_> = (0..5).map(|_| arena.insert(Bead(Links::LOOSE))).collect();
        for &key in &keys[1..] {
            list.push_back(&mut arena, key);
        }
        list.push_front(&mut arena, keys[0]);
        assert!(list.remove(&mut arena, keys[2]));
        assert!(!list.remove(&mut arena, keys[2]));
        assert!(list.remove(&mut arena, keys[4]));
        assert_eq!(list.pop_front(&mut arena), Some(keys[0]));
        assert_eq!(
            list.iter(&arena).collect::<Vec<_>>(),
            [keys[1], keys[3]],
            "what was neither removed nor popped"
        );
        assert_eq!((list.len(), list.back()), (2, Some(keys[3])));
    }
}
