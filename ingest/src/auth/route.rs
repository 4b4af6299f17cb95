//! A route of the HTTP side and who may call it. Routers are built from tables of
//! these and of nothing else, so that no route can be forgotten by a guard or a test.

use crate::consent::Role;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Anyone who reaches the port.
    Public,
    /// Whoever acts for a firm in one of these capacities, by `Authorization: Bearer smb_…`. Only
    /// a member gets at more than what is the own firm's.
    Firm(&'static [Role]),
    /// Whoever has a token of a firm, of the alliance or of the complex; what they may then do, their
    /// role decides.
    Person,
    /// Whoever is signed in at the console in one of these capacities, by cookie.
    Page(&'static [Role]),
}

/// Who reads values.
pub const READERS: Guard = Guard::Firm(&[Role::Member, Role::DataOfficer, Role::FirmStaff]);
/// Who looks after the firm's links.
pub const LINKS: Guard = Guard::Firm(&[Role::Member, Role::DataOfficer, Role::FirmStaff, Role::Installer]);
/// Who notes what the firm makes, and for whom.
pub const RECORDERS: Guard = Guard::Firm(&[Role::DataOfficer, Role::FirmStaff]);
/// Who answers for the firm.
pub const DECIDERS: Guard = Guard::Firm(&[Role::Member, Role::DataOfficer]);

/// Whoever can be signed in at the console.
pub const EVERYONE: Guard = Guard::Page(&[
    Role::DataOfficer,
    Role::FirmStaff,
    Role::Installer,
    Role::Member,
    Role::Operator,
    Role::Auditor,
    Role::AllianceAdministrator,
]);
/// Who looks after links: operators after all, a firm's people after its own.
pub const FLEET: Guard =
    Guard::Page(&[Role::DataOfficer, Role::FirmStaff, Role::Installer, Role::Member, Role::Operator]);

/// One path.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// As axum writes it.
    pub path: &'static str,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Who may call.
    pub guard: Guard,
}
