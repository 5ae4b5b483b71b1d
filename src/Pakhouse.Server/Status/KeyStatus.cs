namespace Pakhouse.Server;

/// <summary>
/// The values of a key's entry in the status lists (IETF Token Status List). <see cref="KeyLifecycle"/> sets the entry in the transaction
/// of whatever ends, suspends or revives the key (R5), <see cref="StatusLists"/> publishes it. Expiry sets none: a token never outlives
/// its key. The end of an overlap does: a token got before the key was rotated can.
/// </summary>
internal static class KeyStatus
{
    /// <summary>Of the draft's values: 0x00 valid, 0x01 invalid (for good), 0x02 suspended.</summary>
    public const int Valid = 0, Invalid = 1, Suspended = 2;
}
