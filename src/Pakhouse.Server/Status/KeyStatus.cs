namespace Pakhouse.Server;

/// <summary>
/// The values of a key's entry in the status lists (IETF Token Status List). <see cref="KeyLifecycle"/> sets the entry in the transaction
/// that ends, suspends or resumes the key (R5); <see cref="StatusLists"/> publishes it. Expiry sets no entry, because a token never
/// outlives its key. The end of an overlap does, because a token issued before the rotation can outlive the overlap.
/// </summary>
internal static class KeyStatus
{
    /// <summary>Values of the draft: 0x00 valid, 0x01 invalid (for good), 0x02 suspended.</summary>
    public const int Valid = 0, Invalid = 1, Suspended = 2;
}
