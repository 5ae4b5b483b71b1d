using System.Security.Cryptography;
using System.Text;

namespace Pakhouse.Server;

/// <summary>
/// A key of either kind that was just generated, with its secret. It cannot be printed, logged or compared by accident: <see
/// cref="Reveal"/> returns the text once, and disposing wipes the bytes.
/// </summary>
public sealed class PersonalAccessKey : IDisposable
{
    private byte[]? key;

    private PersonalAccessKey(string id, byte[] key) => (Id, this.key) = (id, key);

    /// <summary>The public id, for logs, the dashboard and support.</summary>
    public string Id { get; }

    internal static PersonalAccessKey Generate(string brand, string id, KeyKind kind = KeyKind.Personal) =>
        new(id, KeyFormat.Create(brand, id, kind));

    /// <summary>SHA-256 of the whole key, which is what is stored. A slow hash is not needed: 256 random bits cannot be searched.</summary>
    public byte[] Hash() => SHA256.HashData(key ?? throw new ObjectDisposedException(nameof(PersonalAccessKey)));

    /// <summary>Returns the key as text for the one response that contains it, and wipes the bytes.</summary>
    /// <exception cref="ObjectDisposedException">It was revealed or disposed before.</exception>
    public string Reveal()
    {
        var text = Encoding.ASCII.GetString(key ?? throw new ObjectDisposedException(nameof(PersonalAccessKey)));
        Dispose();
        return text;
    }

    public void Dispose()
    {
        if (key is not null)
            CryptographicOperations.ZeroMemory(key);
        key = null;
    }

    public override string ToString() => $"key {Id}";
}
